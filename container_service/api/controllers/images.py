# SPDX-License-Identifier: Apache-2.0
"""/v1/images: what a project has on bays, and what is done with it."""

import pecan

from container_service import exceptions
from container_service import images as rules
from container_service import operations
from container_service import references
from container_service import rpc
from container_service.api import accept
from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import bays
from container_service.db import images

_ALL_PROJECTS = (types.Param('all_projects', operations.boolean, False,
                             help='Also those of other projects; for administrators.'),)
_FILTERS = (*(types.Param(name, operations.text, help='Only those of which this is so.')
              for name in ('repo', 'tag', 'project_id')),
            types.Param('status', operations.one_of(*images.STATUSES),
                        help='Only those of which this is so.'),
            types.Param('bay', operations.text, help='Only those on this bay.'))


def _bay(asked):
    """The bay that a body names: ``host`` is its name to existing clients.

    Raises InvalidParameter.
    """
    host, bay = asked.pop('host', None), asked.pop('bay_uuid', None)
    if host and bay and host != bay:
        raise exceptions.InvalidParameter(
            name='host', reason='names one bay, and bay_uuid another')
    return bay or host


def _accepted(parts, row, replayed):
    """Let a conductor begin with what is to be done with an image, if anything is."""
    if replayed:
        pecan.response.headers['Idempotency-Replayed'] = 'true'
    elif row is not None and row.status in images.BUSY:
        parts.doorbell.ring(f'{rpc.PULL}{row.pull_uuid}', row.bay_uuid)
    return row


class TagController(base.Controller):
    """/v1/images/{image}/tag"""

    @base.endpoint('image:tag', query=_ALL_PROJECTS, body=types.ImageTag, returns='Image',
                   status=202, example={'repo': 'ours/nginx', 'tag': 'tested'})
    def post(self, arguments, asked):
        row = _accepted(self.parts, *rules.tag(
            self.context, self.parts.db, self.at['image'], asked['repo'], asked.get('tag'),
            terms=accept.read_terms(self, {})))
        pecan.response.status = 202
        pecan.response.headers['Location'] = f'{self.base}/v1/images/{row.uuid}'
        return views.image(row, self.base)


class ImageController(base.Controller):
    """/v1/images/{image}"""
    children = {'tag': TagController}

    @base.endpoint('image:show', query=_ALL_PROJECTS, returns='Image')
    def get(self, arguments):
        with self.parts.db.read() as conn:
            row = images.shown(conn, self.at['image'], self.context.project_scope)
        return views.image(row, self.base)

    @base.endpoint('image:delete', query=_ALL_PROJECTS, status=204)
    def delete(self, arguments):
        _accepted(self.parts, *rules.delete(
            self.context, self.parts.db, self.at['image'], terms=accept.read_terms(self, {})))
        return base.empty(204)


class PruneController(base.Controller):
    """/v1/images/prune"""

    @base.endpoint('image:prune', body=types.ImagePrune, status=202, example={},
                   returns=base.Listing('images', 'Image', paged=False))
    def post(self, arguments, asked):
        rows = rules.prune(self.context, self.parts.db, _bay(asked))
        pecan.response.status = 202
        return {'images': [views.image(row, self.base) for row in rows]}


class ImagesController(base.Controller):
    """/v1/images"""
    children = {'prune': PruneController}
    member = ('image', ImageController)

    @base.endpoint('image:list',
                   query=(*types.page(*images.SORT_KEYS), *_ALL_PROJECTS, *_FILTERS),
                   returns=base.Listing('images', 'Image'))
    def get(self, arguments):
        page = self.page(arguments)
        wanted = base.filters(arguments)
        scope = self.context.project_scope
        with self.parts.db.read() as conn:
            if 'bay' in wanted:
                wanted['bay_uuid'] = bays.get(conn, wanted.pop('bay'), scope).uuid
            rows, more = images.listing(conn, project_id=scope, filters=wanted, page=page)
        where = self.base
        return {'images': [views.image(row, where) for row in rows],
                'next': self.next_link(rows, more)}

    @base.endpoint('image:pull', body=types.ImagePull, returns='Image', status=202,
                   example={'repo': 'nginx', 'tag': '1.27'})
    def post(self, arguments, asked):
        row = _accepted(self.parts, *rules.pull(
            self.context, self.parts.db, sources=self.parts.sources, bay=_bay(asked),
            registry=asked.get('registry'), reference=_reference(asked['repo'], asked.get('tag')),
            policy=asked.get('image_pull_policy'), terms=accept.read_terms(self, {})))
        pecan.response.status = 202
        pecan.response.headers['Location'] = f'{self.base}/v1/images/{row.uuid}'
        return views.image(row, self.base)


def _reference(repo, tag):
    """One text for both, since clients put the tag into either.  Raises InvalidParameter."""
    name, version = references.split(repo)
    if tag is None or (tag == version and name != repo):
        return repo
    if name != repo:
        raise exceptions.InvalidParameter(name='tag', reason='repo has another one already')
    whole = references.join(repo, tag)
    try:
        references.parse(whole)
    except ValueError:
        raise exceptions.InvalidParameter(name='tag', reason='is not a tag') from None
    return whole

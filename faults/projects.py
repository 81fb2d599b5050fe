# SPDX-License-Identifier: Apache-2.0
"""More than one project, in an API that knows of one: a header says for which one a request is."""

HEADER = 'X-Test-Project'


def install():
    """Make this process one that believes the header."""
    from container_service import context
    from container_service.api import auth

    alone = auth.NoAuthentication.__call__

    def call(self, environ, start_response):
        project = environ.get(f'HTTP_{HEADER.upper().replace("-", "_")}')
        if project is None:
            return alone(self, environ, start_response)
        environ[auth._ENVIRON] = context.RequestContext(
            user_id=f'user of {project}', project_id=project, roles=['member', 'reader'],
            request_id=environ.get('openstack.request_id'), overwrite=False)
        return self._app(environ, start_response)

    auth.NoAuthentication.__call__ = call

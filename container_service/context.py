# SPDX-License-Identifier: Apache-2.0
"""Who asks."""

from oslo_context import context

from container_service import exceptions


class RequestContext(context.RequestContext):
    """The caller of one request.

    ``source`` is the address that it came from, None where that is not known.
    ``all_projects`` is set by a controller once policy has allowed it.  ``authenticated_by`` and
    ``asked`` are for the audit trail: how the caller was told from others (``service``: nobody
    called, a conductor acts for the owner), and what is known of the request.
    """
    all_projects = False
    authenticated_by = 'service'
    asked = None

    def __init__(self, *args, overwrite=True, source=None, **values):
        self.source = source
        # With overwrite=False the library makes it the context of a thread that has none, which
        # then logs that request id for ever.
        self._is_of_thread = overwrite
        super().__init__(*args, overwrite=overwrite, **values)

    def update_store(self):
        if self._is_of_thread:
            super().update_store()

    @property
    def project_scope(self):
        """The project that queries are limited to; None for all of them.

        Raises Forbidden for credentials without a project, which would mean all of them too.
        """
        if self.all_projects:
            return None
        if not self.project_id:
            raise exceptions.Forbidden('The credentials are not for a project.')
        return self.project_id

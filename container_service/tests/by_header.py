# SPDX-License-Identifier: Apache-2.0
"""The API as ``container-service-api`` runs it, but a header says whose project it is for.

``python -m container_service.tests.by_header``, for tests that need more than one project.
Who sends no header is administrator, as ever.
"""

from container_service.cmd import api  # first: it decides what kind of threads there are

# isort: split
from container_service.api import auth

PROJECT = 'X-Test-Project'


class ByHeader(auth.NoAuthentication):

    def caller(self, environ):
        project = environ.get('HTTP_X_TEST_PROJECT')
        if project is None:
            return super().caller(environ)
        return self._context(environ, user_id=f'user of {project}', project_id=project,
                             roles=['member', 'reader'])


if __name__ == '__main__':
    auth.STRATEGIES['none'] = ByHeader
    api.main()

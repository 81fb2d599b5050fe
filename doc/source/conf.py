# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built: ``tox -e docs``, or sphinx-build with the project installed."""

import pathlib
import subprocess
import sys

# First, as in the daemons: else libraries that are imported for their options choose eventlet.
from container_service import concurrency
from container_service import version as _version

concurrency.choose()

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'ext'))


def _git_answers():
    try:
        return subprocess.run(['git', 'rev-parse', 'HEAD'], capture_output=True).returncode == 0
    except OSError:
        return False


project = 'container_service'
copyright = 'container_service developers'
version = release = _version.version()
needs_sphinx = '7.3'

extensions = ['from_code', 'oslo_config.sphinxext', 'oslo_policy.sphinxext']

# OpenStack's theme asks git for the commit it links to and warns without an answer; an unpacked
# archive has none, and its documentation must build without warnings too.
if _git_answers():
    extensions.append('openstackdocstheme')
    html_theme = 'openstackdocs'
    openstackdocs_auto_name = False
    openstackdocs_auto_version = False
    openstackdocs_pdf_link = False
    html_theme_options = {'display_global_toc_section': True, 'display_badge': False}
else:
    html_theme = 'alabaster'
pygments_style = 'native'

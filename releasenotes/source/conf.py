# SPDX-License-Identifier: Apache-2.0
"""How web pages are made of the release notes.  Needs git: reno reads its history."""

project = 'container_service release notes'
copyright = 'container_service developers'

extensions = ['openstackdocstheme', 'reno.sphinxext']

html_theme = 'openstackdocs'
openstackdocs_auto_name = False
openstackdocs_auto_version = False
openstackdocs_pdf_link = False
html_theme_options = {'display_badge': False}
pygments_style = 'native'

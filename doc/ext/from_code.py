# SPDX-License-Identifier: Apache-2.0
"""Sphinx directive ``.. from-code:: NAME``: prints what ``tables.py`` makes of the code."""

from docutils import nodes
from docutils import statemachine
from sphinx.util import docutils
from sphinx.util import nodes as sphinx_nodes
import tables


class FromCode(docutils.SphinxDirective):
    required_arguments = 1

    def run(self):
        try:
            make = tables.TABLES[self.arguments[0]]
        except KeyError:
            known = ', '.join(tables.TABLES)
            raise self.error(f'There is no {self.arguments[0]}; there are: {known}') from None
        lines = statemachine.StringList(make(), source=f'tables.{make.__name__}')
        node = nodes.section()
        node.document = self.state.document
        sphinx_nodes.nested_parse_with_titles(self.state, lines, node)
        return node.children


def setup(app):
    app.add_directive('from-code', FromCode)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}

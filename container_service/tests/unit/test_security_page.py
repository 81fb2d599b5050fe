# SPDX-License-Identifier: Apache-2.0
"""The page on security has a promise, tests, options and limits for each rule; all exist."""

import importlib
import re
import unittest

from container_service.tests import base
from container_service.tests.unit import test_docs

RULES = [f'S-{number:02d}' for number in range(1, 21)]
FIELDS = ['Promise', 'Tests', 'Configuration', 'Limits']

# What has no tests, since there is nothing yet that they could be of.
NOT_YET = ('S-07', 'S-20')


def sections():
    """What the page says: {rule: {field: text}}."""
    parts = re.split(r'^(S-\d\d): .+\n-+\n', test_docs.page('admin/security.rst'),
                     flags=re.MULTILINE)[1:]
    return {rule: fields(text) for rule, text in zip(parts[::2], parts[1::2])}


def fields(text):
    """The field list of a section; nothing else is in it."""
    found = re.split(r'^:(\w+):', text, flags=re.MULTILINE)
    if found[0].strip():
        raise AssertionError(f'not in a field: {found[0].strip()}')
    return {name: ' '.join(words.split()) for name, words in zip(found[1::2], found[2::2])}


class TestSecurityPage(base.TestCase):

    def each(self, field):
        return {rule: said[field] for rule, said in sections().items()}

    def test_every_rule_has_a_section_with_all_fields(self):
        found = sections()
        self.assertEqual(RULES, list(found))
        for rule, said in found.items():
            self.assertEqual(FIELDS, list(said), rule)
            for field, text in said.items():
                self.assertNotIn(text, ('', 'To be filled.'), f'{rule}: {field}')

    def test_every_named_test_exists(self):
        for rule, text in self.each('Tests').items():
            names = re.findall(r'``((?:unit|functional)\.[\w.]+)``', text)
            self.assertNotEqual(rule in NOT_YET, bool(names), f'{rule} names no test')
            for name in names:
                self.assertTrue(exists(name), f'{rule}: {name}')

    def test_every_named_option_exists(self):
        conf = test_docs.known_options()
        for rule, text in self.each('Configuration').items():
            named = re.findall(r'``\[(\w+)\] (\w+)', text)
            self.assertTrue(named or text.startswith('None') or '``' in text, rule)
            for group, name in named:
                self.assertTrue(test_docs.knows(conf, group, name), f'{rule}: [{group}] {name}')


def exists(name):
    """Whether there is such a class of tests, or such a test of one."""
    module, _, last = f'container_service.tests.{name}'.rpartition('.')
    attributes = [last]
    if not last[:1].isupper():
        module, _, kind = module.rpartition('.')
        attributes.insert(0, kind)
    found = importlib.import_module(module)
    for attribute in attributes:
        found = getattr(found, attribute, None)
    kind = getattr(importlib.import_module(module), attributes[0], None)
    return (isinstance(kind, type) and issubclass(kind, unittest.TestCase)
            and found is not None and (len(attributes) == 1 or last.startswith('test')))

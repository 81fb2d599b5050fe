# SPDX-License-Identifier: Apache-2.0
"""S-18: constraints.txt is the one place of versions, and what is waived says why."""

import configparser
import importlib.metadata
import pathlib
import re

from packaging import requirements
from packaging import utils

import container_service
from container_service.tests import base

ROOT = pathlib.Path(container_service.__file__).resolve().parents[1]
REQUIREMENTS = ('requirements.txt', 'test-requirements.txt', 'doc/requirements.txt')

# Programs of others that tests run in environments of their own, and what these ask for that does
# not agree with what we need.
BESIDE = {'test-clients.txt': {'prettytable'}, 'test-keystone.txt': set()}

# Where packages come from is said by who installs, never here.
INDEX = re.compile(r'pypi\.(org|python)|pythonhosted|--(extra-)?index-url|--find-links|/simple/?\b'
                   r'|trusted-host')


def lines(name):
    for line in (ROOT / name).read_text().splitlines():
        line = line.partition('#')[0].strip()
        if line:
            yield line


def pins(name):
    """{name: version} of a file that has nothing but pins."""
    found = {}
    for line in lines(name):
        project, _, version = line.partition('==')
        assert re.fullmatch(r'[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+', line), f'{name}: {line}'
        found[utils.canonicalize_name(project)] = version
    return found


def asked():
    """Every requirement of the project and of what it needs, as (who asks, requirement)."""
    todo = [(name, requirements.Requirement(line)) for name in REQUIREMENTS
            for line in lines(name)]
    seen = set()
    while todo:
        whose, wanted = todo.pop()
        key = utils.canonicalize_name(wanted.name), frozenset(wanted.extras)
        yield whose, wanted
        if key in seen:
            continue
        seen.add(key)
        try:
            needs = importlib.metadata.requires(wanted.name) or ()
        except importlib.metadata.PackageNotFoundError:
            continue                   # of the documentation, and this environment builds none
        for text in needs:
            need = requirements.Requirement(text)
            if any(need.marker is None or need.marker.evaluate({'extra': extra})
                   for extra in ('', *wanted.extras)):
                todo.append((wanted.name, need))


class TestVersions(base.TestCase):

    def test_all_that_is_needed_is_pinned_to_what_is_asked_for(self):
        pinned = pins('constraints.txt')
        for whose, wanted in asked():
            name = utils.canonicalize_name(wanted.name)
            self.assertIn(name, pinned, f'of {whose}')
            self.assertTrue(wanted.specifier.contains(pinned[name], prereleases=True),
                            f'{whose} asks for {wanted}, and constraints.txt has {pinned[name]}')

    def test_requirements_name_the_oldest_version_and_no_other(self):
        for name in REQUIREMENTS:
            for line in lines(name):
                self.assertIsNone(re.search('==|<', line.partition(';')[0]), f'{name}: {line}')

    def test_what_runs_beside_has_the_same_versions(self):
        ours = pins('constraints.txt')
        self.assertEqual(set(BESIDE), {path.name for path in ROOT.glob('test-*.txt')}
                         - set(REQUIREMENTS))
        for name, may_differ in BESIDE.items():
            theirs = pins(name)
            self.assertEqual(may_differ, {
                each for each in set(ours) & set(theirs) if ours[each] != theirs[each]}, name)

    def test_whatever_installs_goes_by_them(self):
        tox = configparser.ConfigParser(interpolation=None)
        tox.read(ROOT / 'tox.ini')
        for section in tox.sections():
            deps = tox[section].get('deps', '').strip()
            if deps:
                self.assertTrue(deps.startswith(('-c{env:TOX_CONSTRAINTS_FILE',
                                                 '{[testenv]deps}')), section)
        installs = [
            (path.name, line) for path in sorted((ROOT / 'tools').glob('*.sh'))
            for line in path.read_text().replace('\\\n', ' ').splitlines()
            if re.search(r'\bpip"? install\b', line) and not line.lstrip().startswith('#')]
        self.assertTrue(installs)
        for where, line in installs:
            self.assertRegex(line, r'constraints\.txt|-r "\$list"|--no-deps', where)

    def test_no_index_is_named(self):
        for path in sorted(ROOT.rglob('*')):
            if (path.suffix in ('.py', '.rst', '.txt', '.toml', '.cfg', '.ini', '.sh', '.yaml')
                    and path != pathlib.Path(__file__).resolve()
                    and not any(part.startswith('.') or part in ('build', 'node_modules')
                                for part in path.relative_to(ROOT).parts)):
                found = INDEX.search(path.read_text(errors='replace'))
                self.assertIsNone(found, f'{path}: {found}')


class TestWaivers(base.TestCase):

    def test_each_names_what_it_waives_and_why(self):
        for path in sorted((ROOT / 'container_service').rglob('*.py')):
            if 'tests' not in path.parts:
                for line in path.read_text().splitlines():
                    if re.search('# ?nosec', line):
                        self.assertRegex(line, r'# nosec B\d{3} # \w.{10,}', path)

    def test_the_style_checks_run_bandit(self):
        for name in ('tools/test.sh', 'tox.ini', '.pre-commit-config.yaml'):
            self.assertRegex((ROOT / name).read_text(), r'bandit"? .*-ll', name)

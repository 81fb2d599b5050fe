# SPDX-License-Identifier: Apache-2.0
"""Everything is in setup.cfg, read by pbr; this adds a version where there is no git."""

import os
import pathlib
import re
import subprocess

import setuptools

HERE = pathlib.Path(__file__).resolve().parent


def version_without_git():
    """The version of a tree that git knows nothing about, or None to let pbr find it.

    pbr asks git, and refuses to install an unpacked archive, which has neither history nor the
    PKG-INFO of a release. Worse, an archive unpacked inside somebody else's git repository would
    get that one's version. `git archive` (and what a forge offers for download) writes the
    nearest tag into .git_archival.txt, so that is the next best source.
    """
    if (HERE / 'PKG-INFO').exists():
        return None
    if (HERE / '.git').exists():
        # A repository that git cannot read (not installed, owned by another user) is no use to
        # pbr either.
        try:
            git = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=HERE, capture_output=True)
        except OSError:
            git = None
        if git is not None and git.returncode == 0:
            return None
    described = (HERE / '.git_archival.txt').read_text()
    found = re.search(r'^describe: v?(\d+)\.(\d+)\.(\d+)(?:-(\d+)-g[0-9a-f]+)?$', described, re.M)
    if not found:
        return '0.0.1.dev0'
    major, minor, patch, commits_since = found.groups()
    if commits_since is None:
        return f'{major}.{minor}.{patch}'
    return f'{major}.{minor}.{int(patch) + 1}.dev{commits_since}'


version = version_without_git()
if version:
    os.environ.setdefault('PBR_VERSION', version)

setuptools.setup(setup_requires=['pbr>=6.1.0'], pbr=True)

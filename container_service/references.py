# SPDX-License-Identifier: Apache-2.0
"""Image references: the one grammar, and what two spellings of one image have in common.

``busybox``, ``busybox:latest`` and ``docker.io/library/busybox`` are the same image.  A reference
is shown in Docker's short form, always with its tag or digest.  Standard library only.
"""

import dataclasses
import hashlib
import re

DEFAULT_DOMAIN = 'docker.io'
DEFAULT_TAG = 'latest'

# Where images are that were made on a bay and that no registry has.  Nobody may ask for it by
# name: what is behind it is the project's whose digest is in the path.
LOCAL_DOMAIN = 'cs.local'

LONGEST = 255
_LONGEST_LOCAL = 200

_WORDS = 'is not an image reference such as registry:5000/repository/image:tag'
_PATH = re.compile(r'[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*'
                   r'(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*')
_LABEL = r'(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])'
_DOMAIN = re.compile(rf'{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?')
_TAG = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}')
_DIGEST = re.compile(r'sha256:[0-9a-f]{64}')

# An engine takes these for the beginning of an image's id, which is nobody's to ask for: it finds
# whatever any project has pulled.
_ID = re.compile(r'[0-9a-f]{64}|sha(?:256|384|512)')


@dataclasses.dataclass(frozen=True)
class Reference:
    """An image: where it is, what it is called, and which one of that name."""
    domain: str
    path: str
    tag: str = None              # None when there is a digest
    digest: str = None

    @property
    def name(self):
        """All but the tag, in the short form: ``busybox``, ``mine/web``, ``registry:5000/web``."""
        if self.domain != DEFAULT_DOMAIN:
            return f'{self.domain}/{self.path}'
        head, _, rest = self.path.partition('/')
        return rest if head == 'library' and '/' not in rest else self.path

    @property
    def version(self):
        """Tag or digest."""
        return self.digest or self.tag

    def __str__(self):
        return join(self.name, self.version)


def parse(text, domain=None):
    """Return the Reference that a text stands for.  Raises ValueError.

    ``domain`` is where an image is that names no registry; by default Docker's own.
    """
    if len(text) > LONGEST:
        raise ValueError(f'must have at most {LONGEST} characters')
    name, at, digest = text.partition('@')
    head, slash, last = name.rpartition('/')
    last, colon, tag = last.partition(':')
    asked, path = _split_domain(head + slash + last)
    if ((at and not _DIGEST.fullmatch(digest)) or (colon and not _TAG.fullmatch(tag))
            or not _PATH.fullmatch(path) or (asked and not _DOMAIN.fullmatch(asked))):
        raise ValueError(_WORDS)
    if asked is not None and asked.lower().partition(':')[0] == LOCAL_DOMAIN:
        raise ValueError(f'must not begin with {LOCAL_DOMAIN}: an image that was made on a bay '
                         f'is known there by the name that it was given')
    where = canonical_domain(asked or domain or DEFAULT_DOMAIN)
    if where == DEFAULT_DOMAIN and '/' not in path:
        path = f'library/{path}'
    found = Reference(where, path, None if digest else tag or DEFAULT_TAG, digest or None)
    if _ID.fullmatch(found.name):
        raise ValueError(_WORDS)
    if len(str(found)) > LONGEST:
        raise ValueError(f'is longer than {LONGEST} characters with its registry and tag')
    return found


def _split_domain(name):
    """As Docker tells a registry from the first part of a path."""
    head, slash, rest = name.partition('/')
    if slash and ('.' in head or ':' in head or head == 'localhost' or head != head.lower()):
        return head, rest
    return None, name


def canonical_domain(domain):
    """One spelling for Docker's own registry; others as they are."""
    return DEFAULT_DOMAIN if domain.lower() in ('docker.io', 'index.docker.io') else domain


def parse_domain(text):
    """Return the domain of a registry as references have it.  Raises ValueError."""
    if not _DOMAIN.fullmatch(text) or _split_domain(f'{text}/x')[0] is None:
        raise ValueError('must be a host name with a dot or a port, such as '
                         'registry.example.org or registry:5000')
    domain = canonical_domain(text.lower())
    if domain.partition(':')[0] == LOCAL_DOMAIN:
        raise ValueError(f'must not be {LOCAL_DOMAIN}')
    return domain


def local(project_id, repo, tag=None):
    """The engine's name for an image that a project makes on a bay.

    A name of its own for each project: what one calls ``busybox`` is never another's busybox.
    ``repo`` may have the tag in it.  Raises ValueError, with words that complete "repo ...".
    """
    made = parse(join(repo, tag) if tag else repo)
    if made.domain != DEFAULT_DOMAIN:
        raise ValueError('must not name a registry: the image stays on its bay')
    if made.digest:
        raise ValueError('must not have a digest, which is what comes out')
    if len(made.name) > _LONGEST_LOCAL:
        raise ValueError(f'must have at most {_LONGEST_LOCAL} characters')
    owner = hashlib.sha256(project_id.encode()).hexdigest()[:16]
    return Reference(LOCAL_DOMAIN, f'{owner}/{made.name}', made.tag)


def split(text):
    """Split any reference to (name, tag or digest), with the tag ``latest`` if it has none.

    A digest wins over a tag, as in Docker.  Nothing is checked.
    """
    name, _, digest = text.partition('@')
    head, slash, last = name.rpartition('/')
    last, _, tag = last.partition(':')
    return head + slash + last, digest or tag or DEFAULT_TAG


def join(name, version):
    return f'{name}@{version}' if ':' in version else f'{name}:{version}'

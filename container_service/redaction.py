# SPDX-License-Identifier: Apache-2.0
"""What no line of a log may have: tokens, passwords, keys, variables.

``install`` puts it behind the formatter of every handler, so that it sees what is written in the
end: the message, the traceback, what a library had to say, in whatever format was configured.  It
masks what has the shape of a secret, and what is known to be one while that is at hand (``hide``).
A log is for people: to mask too much is better than too little.

``strutils.mask_password`` of oslo does part of it, but ends a password at the first quote that is
in it, and drops what follows some of them.
"""

import contextlib
import contextvars
import json
import logging
import re

HIDDEN = '***'

# Shorter ones are found in words that have nothing to do with them.
SHORTEST = 4

# A line without any of these has nothing to be masked, and most have none.
_HINT = re.compile(
    'gaaaa|auth|cookie|pass|secret|token|key|env|bearer|basic|credential|-----begin|://[^ /]*@',
    re.IGNORECASE)

_HEADERS = ('x[-_]auth[-_]token|x[-_]subject[-_]token|x[-_]service[-_]token|'
            'x[-_]registry[-_](?:auth|config)|(?:proxy[-_])?authorization|(?:set[-_])?cookie')
# Lengths are bounded: what somebody sends may be logged, and must not take long to look through.
_FIELDS = (r'(?:passw(?:or)?d|passphrase|adminpass|admin_pass|secret|token|credentials?|'
           r'private_?key|client_?key|api_?key|fernet_?key|encryption_?key|key_data)[\w-]{0,32}')
_TEXT = r'''"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+\''''
_ESCAPED = r'\\{1,4}"(?:(?!\\{1,4}").)*+\\{1,4}"'      # JSON within JSON
_QUOTE = r'''(?:\\{0,4}["'])'''
_IS = r'\s{0,8}[:=]\s{0,8}'

_RULES = tuple((re.compile(pattern, flags | re.IGNORECASE), mask) for pattern, flags, mask in (
    (r'-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)', re.DOTALL,
     HIDDEN),
    # In a list of pairs, an object, a mapping that is printed, or as a header is written.
    (rf'({_HEADERS})({_QUOTE}\s{{0,8}}[:=,]\s{{0,8}}b?)(?:{_TEXT}|{_ESCAPED}|[^\r\n]*)', 0,
     rf'\1\2{HIDDEN}'),
    (rf'\b({_HEADERS})({_IS})[^\r\n]+', 0, rf'\1\2{HIDDEN}'),
    # Variables: an object or a list of texts.  One that is cut off goes to the end of the line.
    (rf'\b((?:secret_)?env(?:ironment)?{_QUOTE}?{_IS})(?:'
     rf'\{{(?:{_TEXT}|[^{{}}"\'\\])*+\}}|\[(?:{_TEXT}|[^\[\]"\'\\])*+\]|[{{\[][^\r\n]*)', 0,
     rf'\1{HIDDEN}'),
    (rf'({_FIELDS}{_QUOTE}?{_IS}[bu]?)(?:{_TEXT}|{_ESCAPED}|[^\s,;&)}}\]"\'\\]+)', 0,
     rf'\1{HIDDEN}'),
    (rf'(--[\w-]{{0,32}}{_FIELDS}\s{{1,8}})[^\s-]\S*', 0, rf'\1{HIDDEN}'),
    (r'\b(bearer|basic)\s+(?=[\w.~+/-]*[0-9=+/])[\w.~+/=-]{6,}', 0, rf'\1 {HIDDEN}'),
    (r'gAAAA[\w=-]{20,}', 0, HIDDEN),
    (r'(?<![\w=+/-])[\w-]{43}=(?![\w=])', 0, HIDDEN),                # a key of Fernet
    (r'''\b([a-z][a-z0-9+.-]{0,32}://)[^\s/?#'"]*@''', 0, rf'\1{HIDDEN}@'),
))

_known = contextvars.ContextVar('secrets at hand', default=None)


def masked(value, texts=()):
    """A JSON value without these texts, and those that are known, wherever they are in it."""
    # The longest first: one may be in another one.
    found = {text for text in texts if len(text) >= SHORTEST} | (_known.get() or set())
    return _masked(value, sorted(found, key=len, reverse=True)) if found else value


def _masked(value, texts):
    if isinstance(value, str):
        for text in texts:
            value = value.replace(text, HIDDEN)
        return value
    if isinstance(value, dict):
        return {_masked(name, texts): _masked(part, texts) for name, part in value.items()}
    return [_masked(part, texts) for part in value] if isinstance(value, list | tuple) else value


def redacted(text):
    """The text without what looks like a secret or is known to be one."""
    text = masked(text)
    if _HINT.search(text):
        for pattern, mask in _RULES:
            text = pattern.sub(mask, text)
    return text


@contextlib.contextmanager
def hiding():
    """What is told to ``hide`` is masked until this ends, in this thread."""
    token = _known.set(set(_known.get() or ()))
    try:
        yield
    finally:
        _known.reset(token)


def hide(texts):
    """Note secrets that are at hand now.  Outside of ``hiding`` nothing is noted."""
    known = _known.get()
    if known is not None:
        known.update(text for text in texts if len(text) >= SHORTEST)


class Formatter(logging.Formatter):
    """Another formatter, whose output is redacted."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def format(self, record):
        made = self.inner.format(record)
        if isinstance(made, str) and made.startswith('{'):
            # As a whole, quotes within quotes would hide where a secret ends.
            with contextlib.suppress(ValueError, RecursionError):
                return json.dumps(_parts(json.loads(made)))
        return _parts(made)

    def formatException(self, exc_info):  # noqa: N802 - its name in logging
        return redacted(self.inner.formatException(exc_info))


def _parts(value):
    """All texts of a value, redacted; what has a telling name is masked as a whole."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {name: HIDDEN if isinstance(name, str) and _is_telling(name) and part else
                _parts(part) for name, part in value.items()}
    return [_parts(part) for part in value] if isinstance(value, list | tuple) else value


_TELLING = re.compile(
    rf'(?:{_HEADERS}|[\w.-]{{0,32}}{_FIELDS}|(?:secret_)?env(?:ironment)?)', re.IGNORECASE)


def _is_telling(name):
    return _TELLING.fullmatch(name) is not None


def install():
    """Redact what any handler that exists writes.  To be called after logging is set up."""
    loggers = [logging.root, *(logger for logger in logging.root.manager.loggerDict.values()
                               if isinstance(logger, logging.Logger))]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if not isinstance(handler.formatter, Formatter):
            handler.setFormatter(Formatter(handler.formatter or logging.Formatter()))

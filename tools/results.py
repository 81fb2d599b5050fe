# SPDX-License-Identifier: Apache-2.0
"""Tells of a run of tests, for tools/test.sh: a line for what passes, more for what fails.

``show``: a subunit stream is shown as it comes, and kept in a file.  A failure is shown by its
traceback, then by what else is known of it, so that the first traceback is that of a failure.
``again``: prints a regular expression for what has failed and may be run once more, or nothing.
``sum``: prints how many have passed, failed and were skipped; adds what is to be told at the end
of those that failed to a summary.  What failed and has passed in the file of what was run again
is unsteady, and has passed.
"""

import argparse
import re
import sys

import subunit
import testtools

# Lines: of each attachment when a test fails, and of its traceback in the summary.
SHOWN, SUMMED_UP = 200, 12

PASSED, SKIPPED = ('success', 'xfail'), 'skip'


def read(stream, on_test, on_rest=lambda text: None):
    """Call back for each test that has ended, and for what is printed beside them."""
    result = testtools.CopyStreamResult([testtools.StreamToDict(on_test), _Rest(on_rest)])
    result.startTestRun()
    subunit.ByteStreamToStreamResult(stream, non_subunit_name='stdout').run(result)
    result.stopTestRun()


class _Rest(testtools.StreamResult):
    """What the stream has beside results."""

    def __init__(self, on_rest):
        self._on_rest, self._line = on_rest, b''

    def status(self, test_id=None, file_name=None, file_bytes=None, **values):
        if test_id is None and file_bytes:
            *lines, self._line = (self._line + file_bytes).split(b'\n')
            for line in lines:
                self._on_rest(line.decode(errors='replace'))


def has_failed(test):
    """As do fail and uxsuccess; and inprogress: begun, never ended, as when its worker dies."""
    return test['status'] not in (*PASSED, SKIPPED, 'exists')


def last(text, count):
    lines = text.rstrip().splitlines()
    left_out = [f'[{len(lines) - count} lines before]'] if len(lines) > count else []
    return [*left_out, *lines[-count:]]


def attachments(test):
    """Names and texts; tracebacks first."""
    texts = [(name, detail.as_text()) for name, detail in test['details'].items()
             if detail.content_type.type == 'text']
    return sorted(((name, text) for name, text in texts if text.strip()),
                  key=lambda pair: not pair[0].startswith('traceback'))


def show_test(test):
    if test['status'] == 'exists':
        return
    words = {**dict.fromkeys(PASSED, 'ok     '), SKIPPED: 'skipped'}.get(test['status'], 'FAILED ')
    begun, ended = test['timestamps']
    seconds = f' ({(ended - begun).total_seconds():.2f} s)' if begun and ended else ''
    print(f'{words} {test["id"]}{seconds}', flush=True)
    if has_failed(test):
        for name, text in attachments(test):
            print('\n'.join([f'    --- {name}', *(f'    {line}' for line in last(text, SHOWN))]),
                  flush=True)


def show(options):
    with open(options.file, 'wb') as kept:
        read(_Copied(sys.stdin.buffer, kept), show_test, lambda line: print(line, flush=True))


class _Copied:
    """A stream that is written to a file as it is read."""

    def __init__(self, stream, kept):
        self._stream, self._kept = stream, kept

    def read(self, *args):
        data = self._stream.read(*args)
        self._kept.write(data)
        return data

    def fileno(self):
        return self._stream.fileno()


def tests_of(*paths):
    tests = []
    for path in paths:
        with open(path, 'rb') as stream:
            read(stream, tests.append)
    return [test for test in tests if test['status'] != 'exists']


def scope(test_id):
    """What to run for a test: itself; for what is done once for a class, the class."""
    found = re.fullmatch(r'(?:setUp|tearDown)Class \((.+)\)', test_id)
    return f'{found[1]}.' if found else test_id


def again(options):
    failed = [test['id'] for test in tests_of(*options.files) if has_failed(test)]
    # What cannot be imported is not for want of time.
    if failed and len(failed) <= options.most and not any('_FailedTest' in id for id in failed):
        found = [re.escape(scope(id)) + ('' if scope(id).endswith('.') else '$') for id in failed]
        print(f'^(?:{"|".join(found)})')


def sum_up(options):
    first, second = tests_of(*options.files), tests_of(*options.again)
    failures = {test['id']: test for test in first if has_failed(test)}
    passed = {test['id']: test for test in (*first, *second) if test['status'] in PASSED}
    skipped = [test for test in first if test['status'] == SKIPPED]
    failed, unsteady = {test['id']: test for test in second if has_failed(test)}, []
    for id, test in failures.items():
        ran = [one for one in second if one['id'].startswith(scope(id))
               or one['id'].endswith(f'({scope(id)[:-1]})')]
        if id in failed:
            continue
        if any(not has_failed(one) for one in ran) and not any(map(has_failed, ran)):
            unsteady.append(test)
        else:
            failed[id] = test
    for test in skipped:
        reason = test['details'].get('reason')
        print(f'skipped {test["id"]}: {reason.as_text() if reason else ""}', file=sys.stderr)
    for test in passed.values():
        for name, text in attachments(test):
            if name.startswith('measured'):
                print(f'{test["id"]}: {text}', file=sys.stderr)
    with open(options.summary, 'a') as summary:
        for word, found in (('FAILED ', failed.values()), ('unsteady:', unsteady)):
            for test in found:
                told = next((text for _, text in attachments(test)), test['status'])
                text = '\n'.join([f'{word} {test["id"]}', *(
                    f'    {line}' for line in last(told, SUMMED_UP)), ''])
                summary.write(text)
                if word == 'unsteady:':
                    print(text, end='', file=sys.stderr)
    print(len(passed.keys() - failed.keys()), len(failed), len(skipped))


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser('show')
    command.set_defaults(do=show)
    command.add_argument('file')
    command = commands.add_parser('again')
    command.set_defaults(do=again)
    command.add_argument('--most', type=int)
    command.add_argument('files', nargs='+')
    command = commands.add_parser('sum')
    command.set_defaults(do=sum_up)
    command.add_argument('--summary')
    command.add_argument('--again', action='append', default=[])
    command.add_argument('files', nargs='+')
    options = parser.parse_args()
    options.do(options)


if __name__ == '__main__':
    main()

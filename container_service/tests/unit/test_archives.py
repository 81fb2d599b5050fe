# SPDX-License-Identifier: Apache-2.0
import base64
import gzip
import io
import tarfile

from container_service import archives
from container_service import exceptions
from container_service.tests import base

LIMIT = 1024 * 1024


def packed(*members, form=tarfile.PAX_FORMAT):
    """An archive of (name, type, what it has for content or links to)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode='w', format=form) as archive:
        for name, kind, more in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, 0o4755
            if kind == tarfile.REGTYPE:
                entry.size = len(more)
                archive.addfile(entry, io.BytesIO(more))
            else:
                entry.linkname = more or ''
                archive.addfile(entry)
    return made.getvalue()


def headers(kind, count=1500):
    """What stands before an entry, again and again, and never an entry."""
    content = b'9 path=a\n'
    header = tarfile.TarInfo('a')
    header.type, header.size = kind, len(content)
    return (header.tobuf() + content.ljust(tarfile.BLOCKSIZE, b'\0')) * count


def extended(entry, values):
    """The header of a member without content, behind one that says more of it."""
    return (tarfile.TarInfo._create_pax_generic_header(values, tarfile.XHDTYPE, 'utf-8')
            + entry.tobuf(tarfile.USTAR_FORMAT))


class TestClean(base.TestCase):

    def members(self, data):
        with tarfile.open(fileobj=io.BytesIO(archives.clean(data, LIMIT)), mode='r:') as archive:
            return [(entry.name, entry.type, archive.extractfile(entry).read()
                     if entry.isreg() else entry.linkname) for entry in archive]

    def refused(self, data):
        return self.assertRaises(exceptions.HostileArchive, archives.clean, data, LIMIT)

    def test_what_is_harmless_stays_as_it_is(self):
        members = [('a', tarfile.DIRTYPE, ''), ('a/b', tarfile.REGTYPE, b'\0\xff'),
                   ('./c', tarfile.REGTYPE, b''), ('a/l', tarfile.SYMTYPE, '../c'),
                   ('h', tarfile.LNKTYPE, 'a/b'), ('ä' * 120, tarfile.REGTYPE, b'x'),
                   ('a..b', tarfile.REGTYPE, b'')]
        for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
            self.assertEqual(members, self.members(packed(*members, form=form)))
        self.assertEqual([], self.members(packed()))

    def test_what_leads_out(self):
        for name in ('/etc/passwd', '../x', 'a/../../x', 'a/..', '..'):
            for kind in (tarfile.REGTYPE, tarfile.DIRTYPE):
                error = self.refused(packed((name, kind, b'')))
                self.assertTrue(error.detail.startswith(f"data: '{name}"), error.detail)
        for kind, name, target in (
                (tarfile.SYMTYPE, 'l', '/etc'), (tarfile.SYMTYPE, 'l', '..'),
                (tarfile.SYMTYPE, 'a/l', '../../x'), (tarfile.SYMTYPE, 'l', 'a/../../x'),
                (tarfile.LNKTYPE, 'a/h', '../x'), (tarfile.LNKTYPE, 'h', '/etc/shadow')):
            self.assertIn('link', self.refused(packed((name, kind, target))).detail)

    def test_what_is_no_file(self):
        for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
            self.assertIn('neither a file', self.refused(packed(('d', kind, None))).detail)

    def test_a_name_that_another_header_hides(self):
        """A long name wins over the short one beside it, as it does when it is unpacked."""
        self.refused(packed(('../' + 'x' * 150, tarfile.REGTYPE, b''), form=tarfile.GNU_FORMAT))
        self.refused(packed(('/' + 'ä' * 150, tarfile.REGTYPE, b'')))

    def test_nobody_becomes_somebody_else(self):
        clean = archives.clean(packed(('a', tarfile.REGTYPE, b'')), LIMIT)
        with tarfile.open(fileobj=io.BytesIO(clean)) as archive:
            self.assertEqual(0o755, archive.getmember('a').mode)

    def test_what_is_no_archive(self):
        whole = packed(('a', tarfile.REGTYPE, b'x' * 5000))
        for data in (b'', b'no archive', gzip.compress(whole), whole[:3000],
                     b'\0' * 100, whole[:512] + b'\1' * 5000):
            error = self.assertRaises(
                exceptions.InvalidParameter, archives.clean, data, LIMIT)
            self.assertIn('data', error.detail)

    def test_headers_that_go_on_and_on(self):
        """Each says something of the next; tarfile calls itself for each."""
        for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
            error = self.assertRaises(
                exceptions.InvalidParameter, archives.clean, headers(kind), LIMIT)
            self.assertIn('data: ', error.detail)
            self.assertIn('headers', error.detail)

    def test_too_large(self):
        data = packed(('a', tarfile.REGTYPE, b'x' * 5000))
        self.assertRaises(exceptions.ArchiveTooLarge, archives.clean, data, 4000)
        text = base64.b64encode(data).decode()
        self.assertRaises(exceptions.ArchiveTooLarge, archives.received, text, 4000, True)

    def test_sizes_that_hide_others(self):
        """Of a directory the size is nothing, and holes are zeros that nobody sent."""
        entry = tarfile.TarInfo('d')
        entry.type = tarfile.DIRTYPE
        hidden = extended(entry, {'size': '-1000000000000000'})
        holes = extended(tarfile.TarInfo('f'), {
            'GNU.sparse.major': '0', 'GNU.sparse.minor': '1', 'GNU.sparse.name': 'f',
            'GNU.sparse.size': str(64 * LIMIT), 'GNU.sparse.map': '0,0'})
        self.assertIn('below 0', self.refused(hidden + holes + bytes(1024)).detail)
        self.assertIn('holes', self.refused(holes + bytes(1024)).detail)
        for size in ('-1', '-512'):
            self.refused(extended(tarfile.TarInfo('f'), {'size': size}) + bytes(1024))
        self.assertEqual([('d', tarfile.DIRTYPE, '')], self.members(
            extended(entry, {'size': str(10 ** 15)}) + bytes(1024)))

    def test_what_is_said_of_all_members_at_once(self):
        """It is taken for each of them, so that a little becomes a lot."""
        entry = tarfile.TarInfo('f').tobuf(tarfile.USTAR_FORMAT)

        def common(values, count):
            return tarfile.TarInfo._create_pax_generic_header(
                values, tarfile.XGLTYPE, 'utf-8') + entry * count + bytes(1024)

        self.assertRaises(exceptions.ArchiveTooLarge, archives.clean,
                          common({'path': 'a' * 100000}, 100), LIMIT)
        error = self.assertRaises(exceptions.InvalidParameter, archives.clean, common(
            {f'a{number}': '' for number in range(1000)}, 100), LIMIT)
        self.assertIn('too much', error.detail)
        # As git makes it.
        self.assertEqual([('f', tarfile.REGTYPE, b'')],
                         self.members(common({'comment': '1234'}, 1)))

    def test_less_than_its_header_says(self):
        data = extended(tarfile.TarInfo('f'), {'size': '100000'}) + bytes(1024)
        self.assertRaises(exceptions.InvalidParameter, archives.clean, data, LIMIT)

    def test_encodings(self):
        data = packed(('a', tarfile.REGTYPE, b'x'))
        clean = archives.clean(data, LIMIT)
        self.assertEqual(clean, archives.received(
            base64.b64encode(data).decode(), LIMIT, encoded=True))
        self.assertEqual(clean, archives.received(data.decode(), LIMIT, encoded=False))
        for text in ('%', 'ä', 'YQ', data.decode()):
            self.assertRaises(exceptions.InvalidParameter, archives.received, text, LIMIT, True)

# SPDX-License-Identifier: Apache-2.0
import gzip
import io
import os
import tarfile
import tempfile
import unittest

from container_service.client import tarballs


def archive(*members):
    """A tar archive of (name, text or a type of tarfile, link) entries, with nothing checked."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as made:
        for name, what, link in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o4755
            if isinstance(what, str):
                info.size = len(what)
                made.addfile(info, io.BytesIO(what.encode()))
            else:
                info.type, info.linkname = what, link or ''
                made.addfile(info)
    return data.getvalue()


class TarballsTest(unittest.TestCase):

    def setUp(self):
        outside = self.enterContext(tempfile.TemporaryDirectory())
        self.outside = os.path.join(outside, 'secret')
        with open(self.outside, 'w') as f:
            f.write('untouched')
        self.directory = os.path.join(outside, 'in')
        os.mkdir(self.directory)

    def unpack(self, *members, **how):
        tarballs.unpack(archive(*members), self.directory, **how)

    def has(self, *path):
        with open(os.path.join(self.directory, *path), 'rb') as f:
            return f.read()

    def assert_untouched(self):
        with open(self.outside) as f:
            self.assertEqual('untouched', f.read())
        self.assertEqual({'in', 'secret'}, set(os.listdir(os.path.dirname(self.outside))))

    def test_there_and_back(self):
        source = os.path.join(self.directory, 'source')
        os.makedirs(os.path.join(source, 'deep'))
        with open(os.path.join(source, 'deep', 'file'), 'wb') as f:
            f.write(b'\x00\xff')
        os.chmod(os.path.join(source, 'deep', 'file'), 0o640)
        os.symlink('deep/file', os.path.join(source, 'link'))
        data = tarballs.pack(source, 'copy')
        self.assertEqual(('copy', True), tarballs.top(data))
        tarballs.unpack(data, self.directory, rename='other')
        self.assertEqual(b'\x00\xff', self.has('other', 'deep', 'file'))
        self.assertEqual('deep/file', os.readlink(os.path.join(self.directory, 'other', 'link')))
        self.assertEqual(0o640, 0o777 & os.stat(
            os.path.join(self.directory, 'other', 'deep', 'file')).st_mode)

    def test_packed_is_nobody_s(self):
        path = os.path.join(self.directory, 'file')
        os.symlink(self.outside, path)
        for follow, kind in ((False, tarfile.SYMTYPE), (True, tarfile.REGTYPE)):
            with tarfile.open(fileobj=io.BytesIO(tarballs.pack(path, 'f', follow))) as made:
                member, = made.getmembers()
                self.assertEqual(('f', kind, 0, ''),
                                 (member.name, member.type, member.uid, member.uname))

    def test_names_that_lead_out(self):
        for name in ('../secret', '/etc/x', 'a/../../secret', '..'):
            with self.subTest(name=name), self.assertRaises(tarballs.Unsafe):
                self.unpack((name, 'x', None))
        self.assert_untouched()

    def test_links_that_lead_out(self):
        for link in ('..', '../secret', os.path.dirname(self.outside), self.outside):
            for member in ('link/secret', 'link'):
                with self.subTest(link=link, member=member):
                    try:
                        self.unpack(('link', tarfile.SYMTYPE, link), (member, 'x', None))
                    except (tarballs.Unsafe, OSError):
                        pass
                    self.assert_untouched()
                    for name in os.listdir(self.directory):
                        path = os.path.join(self.directory, name)
                        if not os.path.isdir(path) or os.path.islink(path):
                            os.unlink(path)

    def test_a_link_that_was_there_is_replaced_and_not_followed(self):
        os.symlink(self.outside, os.path.join(self.directory, 'name'))
        self.unpack(('name', 'new', None))
        self.assertEqual(b'new', self.has('name'))
        self.assert_untouched()
        os.symlink(os.path.dirname(self.outside), os.path.join(self.directory, 'dir'))
        with self.assertRaises(tarballs.Unsafe):
            self.unpack(('dir/secret', 'x', None))
        self.assert_untouched()

    def test_second_names_of_what_is_outside(self):
        with self.assertRaises(tarballs.Unsafe):
            self.unpack(('hard', tarfile.LNKTYPE, '../secret'))
        self.assert_untouched()

    def test_devices_are_left_out(self):
        self.unpack(('fifo', tarfile.FIFOTYPE, None), ('null', tarfile.CHRTYPE, None),
                    ('file', 'x', None))
        self.assertEqual(['file'], os.listdir(self.directory))

    def test_no_special_rights(self):
        self.unpack(('file', 'x', None))
        self.assertEqual(0o755, 0o7777 & os.stat(os.path.join(self.directory, 'file')).st_mode)

    def test_what_cannot_be_read(self):
        header = tarfile.TarInfo('long')
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2
        endless = (header.tobuf() + b'a'.ljust(tarfile.BLOCKSIZE, b'\0')) * 1500
        whole = archive(('a', 'x', None), ('b', 'x' * 2000, None))
        for data in (endless, whole[:2000]):
            with self.assertRaises(tarballs.Unsafe):
                tarballs.unpack(data, self.directory)
        with self.assertRaises(tarballs.Unsafe):
            tarballs.top(endless)

    def test_what_is_no_archive(self):
        for data in (b'', b'x' * 2000, archive()):
            with self.assertRaises(tarballs.Unsafe):
                tarballs.top(data)

    def test_a_broken_archive(self):
        """Whatever is wrong, and wherever: it is said, and no file is left that is not whole."""
        whole = archive(('file', 'x' * 5000, None))
        second = bytearray(archive(('one', 'x', None), ('two', 'x', None)))
        second[1024 + 124:1024 + 136] = b'\xff' * 12           # its size
        never = tarfile.TarInfo('nan')
        never.pax_headers = {'mtime': 'nan'}
        for name, data in (('cut off', whole[:1500]), ('second', bytes(second)),
                           ('time', entry(never)),
                           ('compressed', gzip.compress(whole)),
                           ('negative', entry(tarfile.TarInfo('n'), size='-512')),
                           ('sparse', entry(tarfile.TarInfo('s'), **{
                               'GNU.sparse.major': '0', 'GNU.sparse.minor': '1',
                               'GNU.sparse.size': str(1 << 40), 'GNU.sparse.map': '0,0'}))):
            with self.subTest(name), self.assertRaises(tarballs.Unsafe):
                tarballs.unpack(data, self.directory)
            self.assertLessEqual(set(os.listdir(self.directory)), {'one'})


def entry(info, **attributes):
    """An archive of an empty file with extended attributes that tarfile would not write."""
    attributes = {**info.pax_headers, **attributes}
    info.pax_headers = {}
    return (tarfile.TarInfo._create_pax_generic_header(attributes, tarfile.XHDTYPE, 'utf-8')
            + info.tobuf(tarfile.USTAR_FORMAT) + bytes(2048))

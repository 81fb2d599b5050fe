# SPDX-License-Identifier: Apache-2.0
"""Who is given up for others, and what it costs to find out; without a network."""

import types

from container_service.api import connections
from container_service.tests import base
from container_service.tests import fixtures

MOST = 100


class Piece:
    """What has come from, or is left for, a client, of which each piece has one byte."""

    def __init__(self, connection):
        self._connection = connection
        self.size = 0
        self.given_up = False

    def __len__(self):
        return self.size

    def gather(self):
        self.size += 1
        return False

    def send_more(self):
        self.size -= 1
        return not self.size

    def give_up(self):
        self.given_up = True

    @property
    def deadline(self):
        self._connection.looked_at += 1
        return 2000 + self._connection.number


class Slow:
    """A connection; the lower its number, the slower it has been."""
    looked_at = 0

    def __init__(self, number, size=0):
        self.number, self.socket, self.keep = number, number, False
        self.incoming = self.outgoing = Piece(self)
        self.incoming.size = size

    @property
    def last_used(self):
        return self.incoming.deadline

    def close(self):
        pass


class Selecting:
    """A server that keeps what it is given, and a selector."""

    def __init__(self):
        self.selected = []

    def put_conn(self, conn):
        self.selected.append(conn)

    def register(self, *_):
        pass

    unregister = register


class Server(connections.Gathering, Selecting):
    pass


class TestGathering(base.TestCase):

    def setUp(self):
        super().setUp()
        self.patch(connections, 'KEPT', 10000)
        self.server = Server()
        self.server.set_up(lambda path: 0, MOST)

    def gather(self, first, count, size=0):
        found = [Slow(number, size) for number in range(first, first + count)]
        for each in found:
            self.server.process_conn(each)
        return found

    def given_up(self, found):
        return [each.number for each in found if each.incoming.given_up]

    def looked_at(self, found):
        return sum(each.looked_at for each in found)

    def test_a_byte_costs_no_look_at_others(self):
        found = self.gather(0, MOST)
        big, = self.gather(MOST, 1, 9000)
        self.server.leave(found.pop())
        before = self.looked_at(found)
        for _ in range(50):
            self.server.process_conn(big)
        self.assertEqual(before, self.looked_at(found))

    def test_beyond_the_most_connections_a_tenth_is_given_up(self):
        found = self.gather(0, MOST)
        self.assertEqual([], self.given_up(found))
        found += self.gather(MOST, 1)
        self.assertEqual(list(range(11)), self.given_up(found))
        looked = self.looked_at(found)
        found += self.gather(MOST + 1, 10)
        self.assertEqual((looked, list(range(11))), (self.looked_at(found), self.given_up(found)))

    def test_beyond_what_is_kept_a_tenth_is_freed(self):
        found = self.gather(0, 10, 999)
        self.assertEqual([], self.given_up(found))
        self.server.process_conn(found[0])
        self.assertEqual([0], self.given_up(found))
        # Whoever has gone counts no more.
        for each in found[2:6]:
            self.server.leave(each)
        found += self.gather(10, 4, 999)
        self.assertEqual([0], self.given_up(found))
        for each in found:
            self.server.leave(each)
            self.server.leave(each)
        self.assertEqual(({}, 0), (self.server.waiting, self.server._kept))


class TestSender(base.TestCase):

    def setUp(self):
        super().setUp()
        self.patch(connections, 'KEPT', 10000)
        self.clock = fixtures.Clock()
        self.patch(connections, 'time', types.SimpleNamespace(monotonic=self.clock))
        server = Server()
        server.max_connections = MOST
        self.sender = connections.Sender(server)
        self.sender._selector.close()
        self.sender._selector = Selecting()
        self.sender._thread = self             # none is needed

    def add(self, first, count, size):
        found = [Slow(number, size) for number in range(first, first + count)]
        for each in found:
            self.sender.add(each)
        return found

    def slowest(self):
        found = self.sender._slowest()
        for each in found:
            self.sender._done(each)
        return [each.number for each in found]

    def test_it_looks_at_all_now_and_then_only(self):
        found = self.add(0, MOST, 50)
        self.assertEqual([], self.slowest())
        looked = sum(each.looked_at for each in found)
        for _ in range(10):
            self.assertEqual([], self.slowest())
        self.assertEqual(looked, sum(each.looked_at for each in found))
        self.clock.advance(1001)
        self.assertEqual([0, 1], self.slowest())

    def test_beyond_its_bounds_a_tenth_is_given_up(self):
        self.slowest()
        self.add(0, MOST + 1, 1)
        self.assertEqual(list(range(11)), self.slowest())
        self.assertEqual([], self.slowest())
        self.add(MOST + 1, 1, 10000)
        self.assertEqual(MOST - 10 + 1, len(self.slowest()))
        self.assertEqual(({}, 0), (self.sender._connections, self.sender._kept))

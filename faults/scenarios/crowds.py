# SPDX-License-Identifier: Apache-2.0
"""Many at once: writers at the same containers, pairs that exclude each other, the same request
again and again, a flood."""

import collections
import random
import threading
import time

from container_service import states
from faults import crowd
from faults import process
from faults.scenario import scenario


def _none_odd(run, requests, *allowed):
    """Answers may be these, and nothing else."""
    odd = collections.Counter(
        f'{answer.status} {answer.body[:200]}' for answer in crowd.answers(requests)
        if answer.status not in allowed)
    run.promised(not odd, f'there were other answers: {odd.most_common(3)}')


@scenario('T-12', '50 writers at 5 containers', '0 HTTP 500; p99 <= 1 s')
def contention(run):
    many = run.crowd()
    with many.caller() as caller:
        containers = [many.made(caller, bay=list(run.world.bays)[number % 2])
                      for number in range(5)]

    def writer(chance, count):
        def write(caller):
            for _ in range(count):
                operation, query = chance.choice((
                    ('start', {}), ('stop', {'timeout': 0}), ('pause', {}), ('unpause', {}),
                    ('kill', {'signal': 'USR1'}), ('reboot', {'timeout': 0})))
                many.ask(caller, many.change(chance.choice(containers), operation, **query))
        return write

    asked = len(many.requests)
    many.at_once(*(writer(random.Random(run.random.random()),  # noqa: S311
                          run.sized(8, 100)) for _ in range(50)))
    slowest = crowd.share(many.requests[asked:], 0.99)
    run.measure('answers p99', slowest)
    run.expect_within(1, slowest, 'the slowest in 100 answers')
    # Who would have to wait too long for the row of a container is told to come back.
    run.measure('answers 503', sum(answer.status == 503
                                   for answer in crowd.answers(many.requests)))
    _none_odd(run, many.requests, 202, 409, 503)
    run.settle(60)


# Two that exclude each other or depend on each other, and what the container must be before.
_PAIRS = (
    ('run', ('stop', {'timeout': 0}), ('start', {})),
    ('run', ('pause', {}), ('stop', {'timeout': 0})),
    ('run', ('kill', {}), ('reboot', {'timeout': 0})),
    ('create', ('start', {}), ('delete', {'force': 'true'})),
    ('run', ('delete', {'stop': 'true'}), ('delete', {'force': 'true'})),
    (None, None, None),                         # two creations with the same key
)


@scenario('T-17', 'pairs of conflicting requests, let go at the same moment',
          'one order, and the engine agrees; 0 HTTP 500')
def pairs(run):
    many = run.crowd()

    def once(caller, before, *two):
        if before is None:
            request = many.creation('create')
            many.at_once(*[lambda caller: many.ask(caller, request)] * 2)
            requests = [request]
        else:
            container = many.made(caller, operation=before)
            requests = [many.change(container, operation, **query) for operation, query in two]
            many.at_once(*(lambda caller, request=request: many.ask(caller, request)
                           for request in requests))
        many.ended(caller, requests)

    def lane(chosen):
        return lambda caller: [once(caller, *pair) for pair in chosen]

    many.at_once(*(lane(run.random.sample(_PAIRS, len(_PAIRS)) * run.sized(1, 42))
                   for _ in range(4)))
    _none_odd(run, many.requests, 202, 404, 409)
    run.measure('requests', len(many.requests))


@scenario('T-18', 'the same request 100 times over 20 connections, with and without a key',
          'one effect each; all answers name the same action')
def repeated(run):
    many = run.crowd()
    with many.caller() as caller:
        container = many.made(caller)

    def hundred(requests):
        """Ask 100 times, for all requests in turn."""
        def five(caller):
            for number in range(5):
                many.ask(caller, requests[number % len(requests)])
        many.at_once(*[five] * 20)

    for _ in range(run.sized(2, 50)):
        keyed = many.change(container, 'kill', signal='USR1')
        creation = many.creation('create')
        hundred([keyed])
        hundred([creation])
        # One of these is done, and the others are the same one, or refused after it.
        loose = [many.change(container, operation, keyed=False, **query)
                 for operation, query in (('stop', {'timeout': 0}), ('start', {}))]
        for request in loose:
            hundred([request])
            with many.caller() as caller:
                many.ended(caller, [request])
        for request in (keyed, creation, *loose):
            run.promised(len(request.actions) == 1,
                         f'100 times {request.operation} was answered with '
                         f'{len(request.actions)} actions')
    _none_odd(run, many.requests, 202, 409)


_FLOODING, _SMALL = 'flooding', 'small'

# Unfinished actions that the flooding project may have.
_LIMIT = 100


@scenario('T-19', 'a flood of creations of one project, while another one asks for little',
          '202, or 429 or 503 with Retry-After; 0 lost; little begins within 5 s')
def flood(run):
    world = run.world
    with world.changed(world.apis, patch='projects', options={
            'api': {'project_action_limit': _LIMIT}}):
        many, little = run.crowd(), run.crowd()
        bays = [_fake_bay(many, run, each) for each in world.conductors]
        left, memory, over = [run.sized(300, 10000)], [], threading.Event()
        lock = threading.Lock()

        def ask(number):
            def asking(caller):
                with many.caller(project=_FLOODING) as caller:
                    while True:
                        with lock:
                            if left[0] == 0:
                                return
                            left[0] -= 1
                        many.ask(caller, many.creation('create', bay=bays[number % 3],
                                                       keyed=False))
            return asking

        def be_small(caller):
            with little.caller(project=_SMALL) as caller:
                container = little.made(caller)
                while not over.is_set():
                    for operation, query in (('stop', {'timeout': 0}), ('start', {})):
                        request = little.change(container, operation, **query)
                        little.ask(caller, request)
                        little.ended(caller, [request])
                little.ask(caller, little.change(container, 'delete', force='true'))

        def watch(caller):
            while not over.wait(0.5):
                memory.append(max(_resident(each) for each in world.conductors))

        def finish(caller):
            try:
                while left[0]:
                    time.sleep(0.1)
                process.wait_for(lambda: run.under_way() <= 2, 'the flood does not end',
                                 run.sized(60, 300), 0.2)
                # Nothing of it must be left: those engines are gone with their conductors.
                with many.caller(project=_FLOODING) as caller:
                    for request in list(many.requests):
                        if request.container:
                            many.ask(caller, many.change(request.container, 'delete',
                                                         force='true'))
            finally:
                over.set()

        many.at_once(*(ask(number) for number in range(run.sized(20, 60))), be_small, watch,
                     finish)
        run.settle(run.sized(60, 300))
        with many.caller() as caller:
            for bay in bays:
                caller.ask('DELETE', f'/v1/bays/{bay}')
    _judge_flood(run, many, little, max(memory))


def _fake_bay(many, run, conductor):
    """A bay whose engine is in the memory of one conductor: it has room for any flood."""
    with many.caller() as caller:
        answer = caller.ask('POST', '/v1/bays', {
            'name': f'fake-{conductor}-{len(run.world.unseen)}', 'driver': 'fake', 'public': True,
            'hosts': [str(conductor)],
            'endpoint': f'fake://flood?present_image={run.world.image}&create_delay=0.3'})
    run.expect(answer.status == 201, f'no bay: {answer}')
    run.world.unseen.add(answer.json['uuid'])
    return answer.json['uuid']


def _resident(host):
    """MiB of memory that its process has."""
    with open(f'/proc/{host.process.pid}/status') as file:
        kib, = [int(line.split()[1]) for line in file if line.startswith('VmRSS:')]
    return kib / 1024


def _judge_flood(run, many, little, memory):
    _none_odd(run, many.requests, 202, 429, 503)
    _none_odd(run, little.requests, 202, 429, 503)
    answers = collections.Counter(answer.status for answer in crowd.answers(many.requests))
    for status in (202, 429, 503):
        run.measure(f'answers {status}', answers[status])
    run.expect_met(answers[429], 'it was not too much')
    hasty = [answer for answer in crowd.answers(many.requests)
             if answer.status != 202 and not answer.retry_after]
    run.expect(not hasty, f'{len(hasty)} were refused without Retry-After')
    past = run.past()
    accepted = {action for request in many.requests for action in request.actions}
    done = sum(past.actions[action].status == states.SUCCEEDED for action in accepted
               if action in past.actions)
    run.promised(done == len(accepted), f'{len(accepted)} were accepted, {done} carried out')
    waits = past.waits(_SMALL)
    run.measure('small ones', len(waits))
    run.measure('slowest begin of a small one', max(waits))
    run.expect_within(5, max(waits), 'the longest wait of a small one')
    run.measure('answers p99', crowd.share(many.requests, 0.99))
    run.measure('conductor MiB', memory)
    run.expect(memory < 200, f'a conductor had {memory:.0f} MiB')

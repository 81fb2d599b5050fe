# SPDX-License-Identifier: Apache-2.0
"""What each address takes and gives, declared beside the code that answers it.

A controller's ``get``, ``post``, ... carry an ``Endpoint``.  All that has to happen before the
code runs is done from it, in one place: the version of the request, policy, arguments, the body.
So no handler can forget a part of it, and documents of the API are made from the same words.
"""

import dataclasses

import pecan

from container_service import exceptions
from container_service.api import intake
from container_service.api import types
from container_service.api import versions

METHODS = ('GET', 'POST', 'PUT', 'PATCH', 'DELETE')

# The policy of what everybody may read, without a project and at any version.
PUBLIC = 'public'


@dataclasses.dataclass(frozen=True)
class Listing:
    """An answer that is a list: ``{<key>: [<item>, ...]}``, and ``next`` when it has pages."""
    key: str
    item: str
    paged: bool = True


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """One method of one address."""
    policy: str                   # the rule that is asked, or PUBLIC
    query: tuple = ()             # Params; any other argument is refused
    body: object = None           # WSME type of the body; None: there is none
    example: dict = None          # of a body
    body_bytes: int = None        # a bound of its own for the body
    params_in_body: tuple = None  # from this version on ``query`` may come in a JSON body too
    returns: object = None        # name of a schema, Listing, or a JSON schema; None: no body
    status: int = 200             # of success
    since: tuple = None           # at versions outside of these the address does not exist
    until: tuple = None
    summary: str = None           # where the rule's own words do not fit
    operation: object = None      # the row of the table that it is made from
    instead: dict = dataclasses.field(default_factory=dict)  # rules by arguments that are true
    # More rules: f(the body) gives the field that asks for what the rule guards, or None.
    guards: dict = dataclasses.field(default_factory=dict)

    def called(self, controller, method):
        """Answer a request, by ``method``, if its caller may make it.

        ``method`` gets the arguments as a dict, and what is in the body if one is declared.
        """
        if self.policy == PUBLIC:
            return method({})         # whatever is sent: such addresses are typed into browsers
        told = controller.context.asked
        if told is not None:
            told.rule, told.target = self.policy, controller.target(self.policy)
        if not self.is_at(controller.version):
            raise exceptions.NotFound(
                f'There is no such address at version {versions.text(controller.version)}. '
                f'It is there {" and ".join(map(_span, self.spans))}.')
        if not self.instead:
            for rule in self.policies:
                controller.authorize(rule)
        arguments = self._arguments(controller)
        if self.instead:
            rule = next((rule for name, rule in self.instead.items() if arguments[name]),
                        self.policy)
            if told is not None:
                told.rule = rule
            controller.authorize(rule)
        if 'all_projects' in arguments:
            controller.see_all_projects(arguments.pop('all_projects'))
        if self.body is None:
            return method(arguments)
        data = intake.body(pecan.request, self.body_bytes)
        asked = types.given(types.parse(self.body, data))
        asks = {rule: asks(asked) for rule, asks in self.guards.items()}
        opened = {rule: name for rule, name in asks.items() if name is not None}
        if told is not None and opened:
            told.details['opened'] = sorted(opened)
        for rule, name in opened.items():
            _authorize_field(controller, name, rule)
        return method(arguments, asked)

    @property
    def policies(self):
        """The rules that are asked, whatever is in the request."""
        if self.operation is None or self.instead:
            return (self.policy,)
        return self.operation.policies

    def is_at(self, version):
        """Whether a microversion has it."""
        return any(first <= version <= (last or version) for first, last in self.spans)

    @property
    def spans(self):
        """The microversions that have it, as (first, last or None) from the oldest on."""
        if self.operation is not None:
            return self.operation.spans
        return ((self.since or versions.MINIMUM, self.until),)

    def _arguments(self, controller):
        if self.params_in_body is None:
            return types.query(pecan.request, self.query)
        return types.arguments(
            pecan.request, self.query, allow_body=controller.version >= self.params_in_body)


def _span(span):
    first, last = span
    return (f'from version {versions.text(first)} '
            + (f'to {versions.text(last)}' if last else 'on'))


def _authorize_field(controller, name, rule):
    try:
        controller.authorize(rule)
    except exceptions.Forbidden as exc:
        raise exceptions.Forbidden(f'{name}: {exc.detail}') from None


def endpoint(policy, **declared):
    """Declare a handler of a controller: its rule of policy, and what Endpoint has besides.

    The handler is called with the arguments, and with the body if one is declared.
    """
    def declare(method):
        method.endpoint = Endpoint(policy, **declared)
        return method
    return declare


@dataclasses.dataclass(frozen=True)
class Route:
    """An endpoint and where it is."""
    method: str
    path: str                     # names in braces stand for any word
    endpoint: Endpoint

    @property
    def name(self):
        return f'{self.method} {self.path}'

    @property
    def rules(self):
        """The rules of policy that it may ask."""
        return (*self.endpoint.policies, *self.endpoint.instead.values(),
                *self.endpoint.guards)


def routes(controller, path=''):
    """Every route at and below a controller class, without a request being made.

    Raises TypeError for a handler that is not declared.
    """
    for method in METHODS:
        handler = getattr(controller, method.lower(), None)
        if handler is not None:
            if not hasattr(handler, 'endpoint'):
                raise TypeError(f'{controller.__name__}.{method.lower()} is not declared')
            yield Route(method, path or '/', handler.endpoint)
    for name, child in controller.children.items():
        yield from routes(child, f'{path}/{name}')
    if controller.member:
        variable, child = controller.member
        yield from routes(child, f'{path}/{{{variable}}}')

# SPDX-License-Identifier: Apache-2.0
"""The description of the API, made from the registry of its endpoints: OpenAPI 3.1.

It tells the newest microversion; what older ones answer is in the documentation.
"""

import re

from container_service import policy
from container_service.api import endpoints
from container_service.api import schemas
from container_service.api import types
from container_service.api import versions

_HEADERS = {
    versions.HEADER: {'schema': {'type': 'string', 'pattern': r'^container 1\.[0-9]+$'},
                      'required': True, 'description': 'The microversion of the answer.'},
    'OpenStack-API-Minimum-Version': {'schema': {'type': 'string'}, 'required': True},
    'OpenStack-API-Maximum-Version': {'schema': {'type': 'string'}, 'required': True},
    'X-Openstack-Request-Id': {
        'schema': {'type': 'string', 'pattern': '^req-'}, 'required': True,
        'description': 'By which the log names the request.'},
}

_VERSION = {
    'name': versions.HEADER, 'in': 'header', 'required': True,
    'description': 'The microversion that is spoken. Without this header it is '
                   f'{versions.text(versions.MINIMUM)}.',
    'schema': {'type': 'string', 'enum': [
        f'{versions.SERVICE} {versions.text(versions.MAXIMUM)}', f'{versions.SERVICE} latest']},
}


def _header(name, description, **schema):
    return {'name': name, 'in': 'header', 'description': description, 'schema': schema}


# What can be said of every request for an asynchronous operation.
_OF_ACTIONS = {
    'IdempotencyKey': _header(
        'Idempotency-Key', 'A request that comes again with the same key is carried out once.',
        type='string', pattern='^[!-~]{1,255}$'),
    'OperationTimeout': _header(
        'Operation-Timeout', 'Seconds after which the action is given up.',
        type='integer', minimum=1, maximum=604800),
    'Prefer': _header(
        'Prefer', 'wait=N: answer once the action has ended, after N seconds at the latest.',
        type='string', pattern='^wait=[0-9]{1,3}$'),
}

_PREFER_RECORDED = _header(
    'Prefer', 'respond-async: record it as an action, and do not wait for what comes of it.',
    type='string', enum=['respond-async'])


def document(root):
    """The whole description of the API below a controller class."""
    rules = {rule.name: rule for rule in policy.list_rules()}
    paths = {}
    for route in endpoints.routes(root):
        if route.endpoint.is_at(versions.MAXIMUM):
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, rules)
    return {
        'openapi': '3.1.0',
        'info': {'title': 'container_service', 'version': versions.text(versions.MAXIMUM),
                 'license': {'name': 'Apache-2.0', 'identifier': 'Apache-2.0'},
                 'description': 'Runs containers for many tenants without making anyone wait. '
                                'This tells the newest microversion.'},
        'paths': paths,
        'components': {
            'schemas': schemas.SCHEMAS,
            'headers': _HEADERS,
            'parameters': {'Version': _VERSION, 'PreferRecorded': _PREFER_RECORDED,
                           **_OF_ACTIONS},
            'responses': {'Error': {
                'description': 'It failed, and nothing was changed.', 'headers': _headers(),
                'content': {'application/json': {'schema': schemas.named('Errors')},
                            'application/problem+json': {'schema': schemas.named('Problem')}}}},
        },
    }


def _operation(route, rules):
    declared = route.endpoint
    rule = rules.get(declared.policy)
    described = {
        'operationId': _id(route), 'summary': declared.summary or rule.description,
        'parameters': _parameters(route),
        'responses': {**_successes(declared),
                      **{code: {'$ref': '#/components/responses/Error'}
                         for code in ('4XX', '5XX')}},
    }
    if rule:
        described['x-policy-rule'] = declared.policy
    for name in ('since', 'until'):
        version = getattr(declared.operation or declared, name)
        if version:
            described[f'x-{name}'] = versions.text(version)
    body = _body(route)
    return {**described, 'requestBody': body} if body else described


def _id(route):
    words = re.findall(r'\w+', route.path.removeprefix('/v1/'))
    return '_'.join([route.method.lower(), *words])


def _parameters(route):
    found = [{'name': name, 'in': 'path', 'required': True, 'schema': {
        'type': 'string', 'minLength': 1, 'pattern': '^[^/]+$'}}
        for name in re.findall(r'{(\w+)}', route.path)]
    if not _in_body(route):
        found += [{'name': param.wire_name, 'in': 'query', 'description': param.help,
                   'required': param.required, 'schema': param.schema}
                  for param in route.endpoint.query]
    if route.endpoint.policy != endpoints.PUBLIC:
        found.append({'$ref': '#/components/parameters/Version'})
    if route.endpoint.operation is not None and route.endpoint.operation.recorded_as:
        found.append({'$ref': '#/components/parameters/PreferRecorded'})
    if _is_action(route.endpoint):
        found += [{'$ref': f'#/components/parameters/{name}'} for name in _OF_ACTIONS]
    return found


def _in_body(route):
    """Whether arguments are told as a body.  In the query they are taken too, but not twice."""
    return route.endpoint.params_in_body is not None and route.method != 'GET'


def _is_action(declared):
    return declared.operation is not None and declared.operation.is_async


def _body(route):
    """The JSON object that comes in: the one declared, or the arguments."""
    declared = route.endpoint
    if declared.body is not None:
        schema, required = types.schema(declared.body), True
    elif _in_body(route):
        schema = {'type': 'object', 'additionalProperties': False, 'properties': {
            param.wire_name: param.schema for param in declared.query}}
        needed = [param.wire_name for param in declared.query if param.required]
        if needed:
            schema['required'] = needed
        required = bool(needed)
    else:
        return None
    content = {'schema': schema}
    if declared.example is not None:
        content['example'] = declared.example
    return {'required': required, 'content': {'application/json': content}}


def _successes(declared):
    content = schemas.answer(declared.returns)
    found = {str(declared.status): _answer('It is accepted.' if declared.status == 202 else
                                           'It is done.', content)}
    if declared.operation is not None and declared.operation.recorded_as:
        found['202'] = _answer('It is recorded as an action.', schemas.named('Action'))
    if _is_action(declared):
        found['200'] = _answer('It was waited for and has ended; or the answer to a dry run.',
                               {'anyOf': [content, schemas.named('DryRun')]})
    return found


def _answer(description, content):
    answer = {'description': description, 'headers': _headers()}
    return {**answer, 'content': {'application/json': {'schema': content}}} \
        if content is not None else answer


def _headers():
    return {name: {'$ref': f'#/components/headers/{name}'} for name in _HEADERS}

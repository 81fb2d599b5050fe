# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent, it is never a failure of ours."""

import json
from urllib import parse

import hypothesis
from hypothesis import strategies as st
from wsme import types as wtypes

from container_service import operations
from container_service.api import creation
from container_service.api import types
from container_service.tests.unit.api import base
from container_service.tests.unit.api import test_auth

FIELDS = [attribute.name for cls in (creation.ContainerCreate, types.BayCreate)
          for attribute in wtypes.list_attributes(cls)]
ARGUMENTS = sorted({param.wire_name for op in operations.OPERATIONS.values()
                    for param in op.params} | {
    'run', 'limit', 'marker', 'sort_key', 'sort_dir', 'all_projects', 'label', 'name', 'status',
    'bay_ident', 'container', 'bay', 'operation', 'request_id', 'image', 'host', 'x'})
WORDS = ['', 'None', 'null', 'true', 'False', '0', '-1', '1', 'id', 'name', 'desc', 'busybox',
         'unfinished', 'queued', 'c1', 'bay', '9' * 30, '9' * 5000, '1e999', 'NaN', '%', '\0',
         "'; --", '../..', '8a1ff1a6-8f25-4a5c-9d3c-8f9bd1b2a7c1', 'x' * 300, 'docker', 'fake',
         'fake://x', 'unix:///x', 'tcp://[', 'http://[::1', 'SIGKILL', '"', 'k=v', '=']

texts = st.one_of(st.sampled_from(WORDS), st.text(max_size=20))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from([10 ** 400, 2 ** 63, -1]),
              st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4),
                            st.dictionaries(texts, inner, max_size=4)), max_leaves=8)
bodies = st.one_of(
    st.dictionaries(st.one_of(st.sampled_from(FIELDS + ARGUMENTS), texts), values, max_size=5),
    st.builds(lambda more: {'image': 'busybox', **more},
              st.dictionaries(st.sampled_from(FIELDS), values, max_size=3)),
    values).map(lambda value: json.dumps(value).encode())
raw_bodies = st.one_of(bodies, st.binary(max_size=60))
queries = st.one_of(
    st.lists(st.tuples(st.one_of(st.sampled_from(ARGUMENTS), texts), texts), max_size=4).map(
        lambda pairs: parse.urlencode(pairs, errors='surrogatepass')),
    st.text(st.characters(max_codepoint=255), max_size=20))
segments = st.one_of(texts, st.sampled_from(
    ['v1', 'containers', 'actions', 'bays', 'container_actions', 'c1', *operations.OPERATIONS]))
paths = st.one_of(
    st.sampled_from([route[1].partition('?')[0] for route in test_auth.ROUTES]),
    st.lists(segments, max_size=5).map(lambda parts: '/' + '/'.join(parts)))
versions = st.one_of(st.sampled_from([None, '1.1', '1.40', '1.41', 'latest']), st.text(
    st.characters(min_codepoint=32, max_codepoint=126), max_size=8))


class TestAnything(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.make('c1', 'Running')

    @hypothesis.settings(
        max_examples=400, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(
        method=st.sampled_from(['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'PATCH']), path=paths,
        query=queries, body=raw_bodies, version=versions,
        kind=st.sampled_from(['application/json', 'application/json', 'x/y', 'multipart/x', '']))
    def test_no_failure_of_ours(self, method, path, query, body, version, kind):
        raw = path.encode('utf-8', 'surrogatepass').decode('latin-1')
        answer = self.call(
            method, '/', body, version=version, headers={'Content-Type': kind},
            environ={'PATH_INFO': raw, 'QUERY_STRING': query})
        # Nobody answers calls here, which is no failure of what was sent.
        calls = path.rstrip('/').endswith(('/logs', '/execute'))
        self.assertTrue(answer.status_int < 500 or calls and answer.status_int == 503, answer)

    @hypothesis.settings(
        max_examples=400, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(path=st.sampled_from([
        '/v1/containers', '/v1/containers?run=true', '/v1/bays', '/v1/containers/c1/stop',
        '/v1/containers/c1/kill']), body=bodies)
    def test_no_body_is_a_failure_of_ours(self, path, body):
        answer = self.post(path, body, version='1.41')
        self.assertIn(answer.status_int, (201, 202, 400, 404, 409, 413))
        if answer.status_int in (201, 202):
            # What was taken can be shown, and says the same.
            self.assertEqual(200, self.get('/v1/containers').status_int)
            self.assertEqual(200, self.get('/v1/bays').status_int)

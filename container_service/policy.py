# SPDX-License-Identifier: Apache-2.0
"""Who may do what: oslo.policy rules, built from the operation table, plus the few reads.

Queries are limited to the caller's project before policy is asked, so a rule never has to hide
anything; it says which roles may use an operation at all.
"""

from oslo_config import cfg
from oslo_policy import opts
from oslo_policy import policy

from container_service import exceptions
from container_service import operations
from container_service import powers

ADMIN = 'role:admin'
NOBODY = '!'
MEMBER = 'role:admin or (role:member and project_id:%(project_id)s)'
READER = 'role:admin or (role:reader and project_id:%(project_id)s)'


# What is asked for nowhere by name: who counts as administrator, and what has no rule.
GENERAL = (
    policy.RuleDefault('context_is_admin', ADMIN,
                       'Who is an administrator: is shown what only they may see.'),
    policy.RuleDefault('default', '!', 'What no rule is for: nobody may do it.'),
)


def _rule(name, check, summary, *paths):
    return policy.DocumentedRuleDefault(
        name, check, summary, [{'method': method, 'path': path} for method, path in paths])


def list_rules():
    """Entry point of oslo.policy's sample generator: every rule there is."""
    return [*GENERAL, *guards()]


def guards():
    """The rules that requests meet: each address and each operation has one."""
    rules = [
        _rule('container:list', READER, 'List containers.', ('GET', '/v1/containers')),
        _rule('container:show', READER, 'Show a container and its history.',
              ('GET', '/v1/containers/{container}'),
              ('GET', '/v1/containers/{container}/container_actions'),
              ('GET', '/v1/containers/{container}/container_actions/{request_id}')),
        _rule('container:all_projects', ADMIN,
              'List, show and act on containers of all projects (all_projects=true).',
              ('GET', '/v1/containers'), ('GET', '/v1/containers/{container}'),
              ('DELETE', '/v1/containers/{container}'), ('GET', '/v1/events')),
        _rule('action:list', READER, 'List actions.', ('GET', '/v1/actions')),
        _rule('action:show', READER, 'Show an action, or wait for it.',
              ('GET', '/v1/actions/{action}'), ('GET', '/v1/actions/{action}/wait'),
              ('GET', '/v1/actions/wait')),
        _rule('action:cancel', MEMBER, 'Cancel an action.',
              ('POST', '/v1/actions/{action}/cancel')),
        _rule('service:list', ADMIN, 'List conductors.', ('GET', '/v1/services')),
        _rule('service:enable', ADMIN, 'Let a conductor take work again.',
              ('PUT', '/v1/services/enable')),
        _rule('service:disable', ADMIN, 'Let a conductor take nothing new.',
              ('PUT', '/v1/services/disable')),
        _rule('service:drain', ADMIN, 'Let a conductor finish what it runs, and end.',
              ('PUT', '/v1/services/drain')),
        _rule('service:force_down', ADMIN,
              'Take the work of a conductor from it at once, or undo that.',
              ('PUT', '/v1/services/force_down')),
        _rule('service:delete', ADMIN, 'Forget a conductor that is down.',
              ('DELETE', '/v1/services')),
        _rule('host:list', ADMIN, 'List hosts.', ('GET', '/v1/hosts')),
        _rule('host:show', ADMIN, 'Show a host.', ('GET', '/v1/hosts/{host}')),
        _rule('availability_zone:list', READER, 'List availability zones.',
              ('GET', '/v1/availability_zones')),
        _rule('audit:list', ADMIN, 'List who did what in a project, when, and with which outcome.',
              ('GET', '/v1/audit')),
        _rule('audit:show', ADMIN, 'Show an entry of the audit trail.',
              ('GET', '/v1/audit/{entry}')),
        _rule('quota:show', READER, 'Show the limits of a project, its own unless it may change '
                                    'them.', ('GET', '/v1/quotas/{project}'),
              ('GET', '/v1/quotas/{project}/defaults')),
        _rule('quota:update', ADMIN, 'Give a project limits.', ('PUT', '/v1/quotas/{project}')),
        _rule('quota:delete', ADMIN, 'Take its own limits from a project.',
              ('DELETE', '/v1/quotas/{project}')),
        _rule('quota_class:show', ADMIN, 'Show the limits of a class of projects.',
              ('GET', '/v1/quota_classes/{class}')),
        _rule('quota_class:update', ADMIN, 'Change the limits of a class of projects; those of '
                                           'the class default are for all.',
              ('PUT', '/v1/quota_classes/{class}')),
        _rule('limits:show', READER, 'Show limits and how much of them is used.',
              ('GET', '/v1/limits')),
        _rule('bay:list', READER, 'List bays.', ('GET', '/v1/bays')),
        _rule('bay:show', READER, 'Show a bay.', ('GET', '/v1/bays/{bay}')),
        _rule('bay:create', ADMIN, 'Create a bay.', ('POST', '/v1/bays')),
        _rule('bay:update', ADMIN, 'Change a bay: its name, labels, hosts, and who may use it.',
              ('PATCH', '/v1/bays/{bay}')),
        _rule('bay:delete', ADMIN, 'Delete a bay.', ('DELETE', '/v1/bays/{bay}')),
        _rule('bay:strays', ADMIN, 'List what the engine of a bay has with our label and nobody '
                                   'knows.', ('GET', '/v1/bays/{bay}/strays')),
        _rule('bay:reconcile', ADMIN, 'Compare a bay with its engine now; adopt or remove strays.',
              ('POST', '/v1/bays/{bay}/reconcile')),
        _rule('image:list', ADMIN, 'List images on bays.', ('GET', '/v1/images')),
        _rule('image:show', ADMIN, 'Show an image on a bay.', ('GET', '/v1/images/{image}')),
        _rule('image:pull', ADMIN, 'Pull an image.', ('POST', '/v1/images')),
        _rule('image:tag', ADMIN, 'Give an image on a bay another name.',
              ('POST', '/v1/images/{image}/tag')),
        _rule('image:delete', ADMIN, 'Delete an image from a bay.',
              ('DELETE', '/v1/images/{image}')),
        _rule('image:prune', ADMIN, 'Delete all images of a bay that nothing uses.',
              ('POST', '/v1/images/prune')),
        _rule('registry:list', READER, 'List registries.', ('GET', '/v1/registries')),
        _rule('registry:show', READER, 'Show a registry, without its password.',
              ('GET', '/v1/registries/{registry}')),
        _rule('registry:create', MEMBER, 'Record a registry and the credentials for it.',
              ('POST', '/v1/registries')),
        _rule('registry:update', MEMBER, 'Change a registry or the credentials for it.',
              ('PATCH', '/v1/registries/{registry}')),
        _rule('registry:delete', MEMBER, 'Forget a registry.',
              ('DELETE', '/v1/registries/{registry}')),
        _rule('event:list', READER, 'List what happened that nobody had asked for.',
              ('GET', '/v1/events')),
    ]
    rules += [
        _rule(f'container:create_{name}', ADMIN, f'Create a container with {words}.',
              ('POST', '/v1/containers'))
        for name, words in (('runtime', 'a runtime of its own'),
                            ('host', 'the host named that it is placed on'),
                            ('published_ports', 'ports of the host that lead to it'))]
    # Whoever may do one of these has, or may get, all of the host.
    rules += [
        _rule(powers.RULES[power], NOBODY, f'Create a container with {words}.',
              ('POST', '/v1/containers'))
        for power, words in ((powers.PRIVILEGED, 'all capabilities and devices of its host'),
                             (powers.HOST_NETWORK, 'the network of its host'),
                             (powers.BIND_MOUNTS, 'directories of its host that [bays] '
                                                  'bind_mount_paths names'))]
    for op in operations.OPERATIONS.values():
        check = READER if op.http_method == 'GET' else MEMBER
        rules.append(_rule(op.policy, check, op.summary, (op.http_method, op.path)))
    return rules


def get_enforcer():
    """Entry point of oslo.policy's command line tools."""
    conf = cfg.CONF
    conf([], project='container-service')
    return make_enforcer(conf)


def make_enforcer(conf):
    opts.set_defaults(conf)
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(list_rules())
    return enforcer


def is_admin(enforcer, context):
    """Whether the caller is an administrator, whatever it asks for."""
    return enforcer.authorize('context_is_admin', {}, context.to_policy_values())


def authorize(enforcer, context, rule):
    """Raises Forbidden unless the caller may do what the rule is for, in its own project."""
    target = {'project_id': context.project_id}
    if not enforcer.authorize(rule, target, context.to_policy_values()):
        raise exceptions.Forbidden(rule=rule, hint=(
            'Your roles in this project do not allow it: ask an administrator for one that does, '
            'or use other credentials.'))

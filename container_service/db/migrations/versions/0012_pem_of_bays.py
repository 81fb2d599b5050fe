# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys of bays are in the database, no longer files of the conductors.

What was a path is forgotten: the bay says that its certificates must be given again.  Until then
its ca_cert is empty, not null, which nobody connects to: with null it would be a bay without TLS.

Revision ID: 0012
Revises: 0011
"""

from alembic import op
import sqlalchemy as sa

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None

NAMES = ('ca_cert', 'client_cert', 'client_key')


def upgrade():
    bays = sa.table('bays', sa.column('status_reason', sa.Text),
                    *(sa.column(name, sa.Text) for name in NAMES))
    op.execute(bays.update().where(sa.or_(*(bays.c[name].is_not(None) for name in NAMES))).values(
        ca_cert='', client_cert=None, client_key=None,
        status_reason='Its certificates must be given again, as their content: container-service '
                      'bay update --ca-cert --client-cert --client-key'))
    with op.batch_alter_table('bays') as batch:
        for name in NAMES:
            batch.alter_column(name, existing_type=sa.String(255), type_=sa.Text)

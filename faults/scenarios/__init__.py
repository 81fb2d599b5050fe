# SPDX-License-Identifier: Apache-2.0
"""The scenarios.  Importing this registers all of them."""

from faults.scenarios import apis  # noqa: F401
from faults.scenarios import broker  # noqa: F401
from faults.scenarios import clocks  # noqa: F401
from faults.scenarios import conductors  # noqa: F401
from faults.scenarios import crowds  # noqa: F401
from faults.scenarios import database  # noqa: F401
from faults.scenarios import engines  # noqa: F401
from faults.scenarios import foreign  # noqa: F401
from faults.scenarios import hands  # noqa: F401
from faults.scenarios import limits  # noqa: F401
from faults.scenarios import links  # noqa: F401
from faults.scenarios import points  # noqa: F401
from faults.scenarios import registries  # noqa: F401
from faults.scenarios import soak  # noqa: F401

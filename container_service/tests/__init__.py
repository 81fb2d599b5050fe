# SPDX-License-Identifier: Apache-2.0
from container_service import concurrency

concurrency.choose()

"""What an operator writes in redoubt.toml is taken, or refused with what to write instead."""

import pytest

from redoubt.config import ConfigError
from redoubt.network.configuration import from_tree


def test_a_ceiling_of_the_hss_below_the_s_cscfs_is_refused_with_what_to_write() -> None:
    """Row 77: it would be met by users that exist and by no others."""
    with pytest.raises(ConfigError, match=r"\[hss\] max-pending-per-user is 6.*write 7 or more"):
        from_tree({"hss": {"max-pending-per-user": 6}})
    assert from_tree({"hss": {"max-pending-per-user": 7}}).hss.max_pending_per_user == 7

import pytest

from medtl_monai.errors import ConfigError
from medtl_monai.lookup import look_up

TABLE = {"resnet18": 1, "swin_t": 2}


def test_a_known_name() -> None:
    assert look_up(TABLE, "swin_t", "network") == 2


def test_a_near_name_is_suggested_and_a_far_one_is_not() -> None:
    with pytest.raises(ConfigError, match="unknown network; expected one of resnet18, swin_t, got resnet_18; did you"):
        look_up(TABLE, "resnet_18", "network")
    with pytest.raises(ConfigError) as caught:
        look_up(TABLE, "???", "network")
    assert "did you mean" not in str(caught.value)


def test_a_long_list_is_cut_to_the_nearest() -> None:
    table = {f"network{number}": number for number in range(100)}
    with pytest.raises(
        ConfigError, match=r"one of 100 names, such as network7, (network\d+, ){3}network\d+, got netwrk7"
    ):
        look_up(table, "netwrk7", "network")

from sparring.data.limits import FREE_BYTES, max_bytes, max_unpacked, printable


def test_small_archives_may_unpack_a_thousandfold_and_large_ones_may_not() -> None:
    assert max_unpacked(100) == FREE_BYTES
    assert max_unpacked(10**9) == 200 * 10**9


def test_memory_bound_is_a_share_of_this_machine() -> None:
    assert 2**28 < max_bytes() < 2**44


def test_names_become_one_printable_line() -> None:
    assert printable("grün/猫.png") == "grün/猫.png"
    assert printable("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert printable(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\\udce9"

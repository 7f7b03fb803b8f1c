from hypercore.mux.accounts import MAX_ACCOUNTS, Accounts


def test_an_account_is_kept_for_each_id() -> None:
    accounts = Accounts()
    accounts.of(b"a").given = 7
    assert (accounts.of(b"a").given, accounts.of(b"b").given, len(accounts)) == (7, 0, 2)


def test_the_account_that_was_given_least_makes_way() -> None:
    accounts = Accounts()
    for number in range(MAX_ACCOUNTS + 10):
        accounts.of(b"%d" % number).given = 1000 - number
    assert len(accounts) == MAX_ACCOUNTS
    assert accounts.of(b"0").given == 1000
    assert accounts.of(b"%d" % (MAX_ACCOUNTS - 1)).given == 0

"""All that reads what a peer sends, fed with nonsense: `./farm fuzz`, and a fixed count in the tests."""

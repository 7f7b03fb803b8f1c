"""All that reads what a stranger sends, fed with nonsense: `./farm fuzz`, and a fixed count in the tests."""

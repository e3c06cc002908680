"""Whom does it fail: groups, rates, intervals, verdicts and ledgers, without torch."""

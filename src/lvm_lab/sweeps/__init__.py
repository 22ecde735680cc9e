"""Many runs as one table: the schedule, what is to be done with each row, the leaderboard; no torch."""

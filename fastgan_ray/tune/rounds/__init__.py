"""A confirmation's trainings, round by round: which run next, their records, and the folder."""

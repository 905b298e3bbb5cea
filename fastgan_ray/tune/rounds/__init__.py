"""The rounds of a confirmation: which trainings run next, their records, and how it starts."""

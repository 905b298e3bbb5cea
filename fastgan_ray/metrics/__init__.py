"""From a generator to a number, with the protocol that the number was measured under."""

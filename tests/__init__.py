"""All tests, by blast radius."""

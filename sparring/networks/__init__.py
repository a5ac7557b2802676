"""The players' networks: each file holds the specs of a generator and a discriminator, and their modules."""

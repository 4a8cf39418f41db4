"""Who the devices are: profiles, the population drawn from them, and how long work takes on them."""

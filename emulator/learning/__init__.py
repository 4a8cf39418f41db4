"""What devices and servers compute: data sets, models, steps, and what a step costs."""

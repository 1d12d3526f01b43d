"""How a method is fitted on labelled images, chosen, kept and asked again."""

"""How many, where and when: records, camera effort, activity, richness and trends."""

"""The commands of C{modabatch}, by what they are about."""

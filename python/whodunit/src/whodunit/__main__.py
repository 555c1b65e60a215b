"""python3 -m whodunit"""

from whodunit.cli import main

if __name__ == "__main__":
    main()

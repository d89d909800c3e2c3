"""``python -m sar_cls`` is the ``sar-cls`` command."""

from sar_cls.commands import main

if __name__ == "__main__":
    main()

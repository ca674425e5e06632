"""Packaging of modabatchd; the tools' settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "modabatchd/__init__.py").read_text()).group(1)  # type: ignore[union-attr]

setup(
    name="modabatchd",
    version=VERSION,
    description="A batch queue over HTTP in front of HTCondor, and a cluster that grows and shrinks with it",
    long_description=(HERE / "README.md").read_text() if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # Without package_dir an editable install does not put the project's root on the path, and twistd misses the plugin.
    package_dir={"": "."},
    # "twisted.plugins" is no package of ours (it must have no __init__.py), so it is listed by hand.
    packages=[*find_packages(include=["modabatchd", "modabatchd.*"]), "twisted.plugins"],
    package_data={
        "modabatchd": [
            "queue/*.sh",
            "infrastructure/scripts/*",
            "rest/static/**/*",
            "store/migrations/*.mako",
            "py.typed",
        ]
    },
    include_package_data=False,
    entry_points={"console_scripts": ["modabatch = modabatchd.client.command:main"]},
    install_requires=[
        "Twisted>=26.10",
        "klein>=24.8",
        "treq>=26.7",
        "zope.interface>=8.7",
        "msgspec>=0.22",
        "multipart>=2.0",
        "SQLAlchemy>=2.1",
        "alembic>=1.20",
        "prometheus-client>=0.26",
    ],
    extras_require={
        "htcondor": ["htcondor>=25"],
        "postgresql": ["psycopg[binary]>=3.3"],
        "isal": ["isal>=1.9"],
        "client": ["click>=8.1", "rich>=13.9", "httpx>=0.28"],
        "scaling": ["apache-libcloud>=3.9", "click>=8.1", "cronsim>=2.8", "htcondor>=25", "tzdata"],
        "test": [
            "pytest>=9.2",
            "pytest-twisted>=1.14",
            "hypothesis>=6.170",
            "schemathesis>=4.32",
            "playwright>=1.65",
            "mypy>=2.4",
            "mypy-zope>=1.0.17",
            "ruff>=0.17",
            "import-linter>=2.17",
            "moto[ec2]>=5.2",
            "standardwebhooks>=1.1",
            "flask>=3.1",
            "flask-cors>=6",
            "build",
        ],
    },
)

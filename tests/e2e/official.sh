# Moves Debian's Python to where the official images have theirs. Runs in the root file system; wheels lie in /mnt.
set -e
lib=/usr/local/lib/python3.11
cp -a /usr/lib/python3.11 /usr/local/kept
cp -a /usr/bin/python3.11 /usr/local/bin/
installed() { dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "$@" | sed -n 's/^ii *//p'; }
dpkg --purge $(installed 'python3*' 'libpython3*')
rm -rf /usr/lib/python3 /usr/lib/python3.11 /usr/share/python3 /etc/python3* $lib
mv /usr/local/kept $lib
rm -rf $lib/EXTERNALLY-MANAGED $lib/dist-packages
find $lib -name __pycache__ -prune -exec rm -rf {} +
ln -s python3.11 /usr/local/bin/python3
ln -s python3 /usr/local/bin/python
# Out of a virtual environment too, packages go where other makers of Python put them.
sed -i 's/if sys.base_prefix != sys.prefix or hasattr(sys, "real_prefix"):/if True:/' $lib/sysconfig.py
sed -i 's/^_PIP_VERSION = .*/_PIP_VERSION = "24.0"/' $lib/ensurepip/__init__.py
mkdir -p $lib/site-packages $lib/ensurepip/_bundled
# `site` is frozen into the program, and looks under Debian's name.
ln -s site-packages $lib/dist-packages
cp /mnt/pip-24.0-*.whl /mnt/setuptools-65.5.0-*.whl $lib/ensurepip/_bundled
python3 /mnt/pip-24.0-py3-none-any.whl/pip install --no-index --find-links /mnt --no-compile --root-user-action ignore \
  pip==24.0 setuptools==65.5.1 wheel==0.45.1
rm -rf /usr/share/locale /usr/share/doc /usr/share/man /usr/share/info /usr/share/perl \
  /usr/share/python-wheels /usr/lib/x86_64-linux-gnu/gconv /usr/lib/x86_64-linux-gnu/perl /var/lib/apt/lists/*

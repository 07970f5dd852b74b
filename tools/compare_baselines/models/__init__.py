"""The models, each behind one small interface: a Task in, a Forecast out (`forecast`); `menu` lists them by name."""

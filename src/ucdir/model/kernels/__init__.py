"""Fast forms of the AKGM (Eq. 2), each equal to `model.akgm.akgm_reference`."""

from ucdir.model.kernels.grouped import akgm_grouped

__all__ = ["akgm_grouped"]

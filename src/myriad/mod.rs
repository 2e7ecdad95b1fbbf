//! Blobs and superblobs of MyriadX.

"""Lists of the other data sets; see `read_table`."""

TABLE = """
# Cityscapes, of 2,975. CPS and UniMatch have one family, U2PL another.
cityscapes-1/16-cps 186 - CPS UniMatch UniMatch-V2
  dc2a06a86232bc32e733a8ae33e60807e9b017bf9dd5ce03b106426f3c96c496
cityscapes-1/8-cps 372 - CPS UniMatch UniMatch-V2
  2755fe0b6533339404a82029602157051c7be06d9d775ce445f5e5c43767d3bc
cityscapes-1/4-cps 744 - CPS UniMatch UniMatch-V2
  605f06bce9cb841e11db460b00e05c6edfdbd3e66a390f3ade7ef00172af4694
cityscapes-1/16-u2pl 186 - U2PL
  c9b2d8a6a7290bcaf224c7cdec576682a677f7248a36dbfde498c55962a363fa
cityscapes-1/8-u2pl 372 - U2PL ST++
  af350f9ea948a470ca54a5c0fa8c9829a30ce537825aa9d3de2d450a9bbcc839
  split_0 of ST++
cityscapes-1/4-u2pl 744 - U2PL
  d787c1a5a4d0e4b8dbff17803e79a1eb2b7e96516fd89a36a3eb1923a6f8bac9
cityscapes-1/2-u2pl 1488 - U2PL
  245bcea234d21ace2a4f968503cd0662f88b1ace5096d8040e393b8c4c0eb2ca
cityscapes-1/30-st++-0 100 - ST++ UniMatch UniMatch-V2
  d356a23daa743733be4afc4b4e5ce286ff4ad35b00a442266ea721713c78b219
cityscapes-1/30-st++-1 100 - ST++
  125e577c87dc09ec0d350c256b3606aa402526de39ea1591ab961e066f7aeb90
cityscapes-1/30-st++-2 100 - ST++
  aacc08d308a404a33b19137738192b93e8fb150b24ed2cc9c074310266f50460
cityscapes-1/8-st++-1 372 - ST++
  ede08667b0454a08ff8d2f1107293edfad5c188f00844ed483bebac6c78b5dbd
cityscapes-1/8-st++-2 372 - ST++
  a2de7e2bad06aed5d221e1fdfc70689c36ad67c50708dd0dbd63018f53b080f9
cityscapes-1/4-st++-0 744 - ST++
  87be9e9c00d1d0cf2edf2415075178001ca743cb367a3495214a9117a2e163ff
cityscapes-1/4-st++-1 744 - ST++
  dcf4e50ce7d100c375e93fbe954cd2bd42d07cecb84c6db1a560d99d9e5d619b
cityscapes-1/4-st++-2 744 - ST++
  c82afbafe36aa47b9a94923f86b63495f9d7d07f567d6ad96897a9794d87e755
cityscapes-val 500 - CPS U2PL ST++ UniMatch UniMatch-V2
  73099b252b778d6fa89467ad05a7068b8a6a0f931693f909e1acbf189a36fb52
# MS COCO 2017, of 118,287: first in PseudoSeg.
coco-1/512-pseudoseg 232 - PseudoSeg UniMatch
  67defdabc1ae060bf545dcaccd9e51620c398ede6342fb0efe002afd273d228f
coco-1/256-pseudoseg 463 - PseudoSeg UniMatch
  5544ded2cdec4fb0341275f0197b85519d10a49a8981ad57bf3c19deaf7ab621
coco-1/128-pseudoseg 925 - PseudoSeg UniMatch
  4b6fec1f28d42050c81d2282605c732654203318df6f6879615a6aa968dc6c53
coco-1/64-pseudoseg 1849 - PseudoSeg UniMatch
  f53fa8b35efc7b3566b6317d9bffdba835efc933e6cb82877da518923a846926
coco-1/32-pseudoseg 3697 - PseudoSeg
  2d8bc09bea3afaf3b0201543fdbff4d9b3749151edc37a4f00ae6b9c55b087e5
# ADE20K, of 20,210, rounded down.
ade20k-1/64-unimatch_v2 316 - UniMatch-V2
  f4599928cf87c8bce0f3127a45b4a5aec1b23356871a28af2acb61a37c480229
ade20k-1/32-unimatch_v2 631 - UniMatch-V2
  181865bfbcf90e6656fdb53502453553554503aea25222b3ecde263524b421ab
ade20k-1/16-unimatch_v2 1263 - UniMatch-V2
  e581e24b0c9c22bc8e6930f63780dd8b5778f212f4079b34962d639782c9c6c0
# NYUDv2 as FCN parts it (Long et al. 2015); an id is the official number and 5,000.
nyudv2-train-fcn 381 - FCN
  2aa7e4beb40682604d7457b636d20b9210ce55460f24c4f20cb3765bee35f794
  of the official train
nyudv2-val-fcn 414 - FCN
  cd278b1232fe5c2347994a9a3c13cd916aa2e72def51b9698993a2e8936797f5
  of the official train
nyudv2-test-fcn 654 - FCN
  3cabba2c952d83ca4e44e4070771c666a28e41e129d7b3033839c4f9a808b426
  the official test
# SIFT Flow as FCN parts it.
siftflow-trainval-fcn 2486 - FCN
  587d2b5f510e869c83c048f491db37aa63118f116594ce5b45addfc93b66524b
  two images without masks are left out
siftflow-test-fcn 200 - FCN
  05cef92d019f81ce4b80a227bd68421248bf507b305e4ccb16432bf7bbab362e
"""

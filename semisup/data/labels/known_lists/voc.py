"""Lists of Pascal VOC 2012: the families of the literature, and the subsets; see `read_table`.

The second number is of the ids in VOC's own train, 1,464: the masks of the others are SBD's.
"""

TABLE = """
# Classic: of VOC's own 1,464 masks, first in PseudoSeg (Zou et al. 2021). Not nested.
voc-92-classic 92 92 CPS PseudoSeg U2PL ST++ UniMatch UniMatch-V2
  325a965b6206ac6e9c4c86961d5f4d9f1aff9c361c42dc79719ca85de7e64cc6
voc-92-classic-1 92 92 PseudoSeg ST++
  440535893fcba1ae9d2dd6da9a4631856d99ae17b28b0a330c73e5c894bf9973
  16_clean_14 of PseudoSeg
voc-92-classic-2 92 92 PseudoSeg ST++
  de960403ee488bb21376887d28f57e73ea163bd2248c960bd5f8a743cf967128
  16_clean_20 of PseudoSeg
voc-183-classic 183 183 CPS PseudoSeg U2PL ST++ UniMatch UniMatch-V2
  3b208061a59a42b4954b136dc46b00f263178ebf25ead1164eb3509ab6657ce1
voc-366-classic 366 366 CPS PseudoSeg U2PL ST++ UniMatch UniMatch-V2
  ea8aa0b2ceedf56b536241b16b57fadfd9c0c8301bd93f7c9b7ad6df2ffc4c26
voc-732-classic 732 732 U2PL ST++ UniMatch UniMatch-V2
  81c3256e4a7fc4c31b6b1e9084c44eec318b44c58c622283035d02f6b17c0137
voc-732-cps 732 732 CPS
  80cc40b7c0ab6fe4942149cbd58f24dbf6bf028b5556aa154de2098fa692d068
  CPS calls it pseudoseg_labeled_1-2; voc-732-classic is another
voc-1464-classic 1464 1464 U2PL ST++ UniMatch UniMatch-V2 CCT Whats-the-Point IRN SEAM VOC
  aa623bd2c8ce4443a8aaae51c524c0eb165e8e44caf6aa9e3ad33d7b75a3ef20
  VOC's own train
# Blended: of all 10,582, most of them SBD's, in CPS (Chen et al. 2021).
voc-1/16-cps 662 93 CPS UniMatch
  7dada8ccc5eb6309b4b81e172dfc24f0d83ea72078675083778ca10487182748
voc-1/8-cps 1323 193 CPS UniMatch
  df63f50a798512c3befb5364052733bd8bc169f609e034e9f55b5853798ead10
voc-1/4-cps 2646 388 CPS
  62c450787069b36d88ea7bb35895a808885720ae833bae8b9c81775731062ea1
voc-1/2-cps 5291 742 CPS
  192132b4f645339dd143850359d4e27bb62ba3ce447553a07de23fbff4f0c8b9
# U2PL (Wang et al. 2022): VOC's own masks first.
voc-1/16-u2pl 662 662 U2PL UniMatch
  0c6466b63b2f52069830afd605968347ec2696b15d25b91329d77d203023c1b1
voc-1/8-u2pl 1323 1323 U2PL UniMatch
  2f24ef964761485ffeb474d2e312d92cf4135e0032e54d0574a3a8a72546e444
voc-1/4-u2pl 2646 1464 U2PL
  3c653f4ff30f3c059b091ea51a8ac90e0481aab837721c404e73cbe0a4a14aa9
voc-1/2-u2pl 5291 1464 U2PL
  8ef07e486384a8252039367570eac09e86e9a1ea1876da9128267030163b8b4d
# ST++ (Yang et al. 2022); most are PixelSSL's too, under other numbers.
voc-1/16-st++-0 662 85 ST++ PixelSSL
  abf8992c3a8126068694938b110d05f8a3892af9d7e23fe343909f3037c7214e
  1-16/0 of PixelSSL
voc-1/16-st++-1 662 89 ST++ PixelSSL
  332381f86a9eac96a18ea1aeb3c057a7f80403a4aa1448ed59c4291026e1558a
  1-16/1 of PixelSSL
voc-1/16-st++-2 662 105 ST++ PixelSSL
  0a7baa80dfc0ffd094f622876032cb512ad275568fdfd57db41f7ffd12593ad6
  1-16/2 of PixelSSL
voc-1/8-st++-0 1323 177 ST++ PixelSSL
  e77eb8080ec87ff3d0180a29e879a095b8f822edfd5e2e6a752844af8f26c658
  1-8/1 of PixelSSL
voc-1/8-st++-1 1323 184 ST++
  fc1b4ca80e1e2f07176378c6f29f897b3bbd477f12951a0e1ff5691ed9cfe75b
voc-1/8-st++-2 1323 205 ST++ PixelSSL
  74689980450c7af3d62ac72e731dd76acb0a1bbbbc42dcaea25e9d7314b38909
  1-8/2 of PixelSSL
# PixelSSL (Ke et al. 2020), beside those of ST++.
voc-1/8-pixelssl-0 1323 189 PixelSSL
  b71eae7c39f254b5264be7d63b01092396dabd585b9937d3a10722b1b9ce4ba6
voc-1/4-pixelssl-0 2645 375 PixelSSL
  2585aa6b915c7248901ec4b51ba00b1b2220b4b27fdbe086b5e1bf3a6a31fe43
voc-1/4-pixelssl-1 2645 340 PixelSSL
  af1f448b967b9885d3aad59da4ac7c39bc419786582327ad873137f5e211262a
voc-1/4-pixelssl-2 2645 335 PixelSSL
  9341e846698b71b4a9dbe17ba5558b8f166f86f510c7a8dcf436e59dc4ea908e
voc-1/2-pixelssl-0 5292 729 PixelSSL
  da9001e72284e5d26d51b9d361f0f091973d84cb179e99dd851f0237978aea30
voc-1/2-pixelssl-1 5292 710 PixelSSL
  4bedfc288d881a16a200ae2855a1dd30d857faf58689a630ed2b680ff73d044b
voc-1/2-pixelssl-2 5292 726 PixelSSL
  0ae139801141187aabad618e4195f79358f980f74b61905a2c08292172b556be
# Random shares after Hung et al. 2018: the first of one order of train_aug, in split_0.pkl.
voc-1/100-cutmix_seg 106 13 CutMix-Seg
  1c62a01c2ccb38d170830970fc5c21e28c6e0f2a437ba9df1e894b6f6364924d
voc-1/50-cutmix_seg 212 28 CutMix-Seg
  c4c1f1090e5bbca872c07010f6f7d9d0d8a1c951afa6c668540b8a7de33d38a4
voc-1/50-s4gan 211 27 s4GAN
  3a73656340d8f32e63a9c46806c29d870f4b1dd123f7d596a2f9cba4fff87976
voc-1/20-s4gan 529 86 s4GAN CutMix-Seg
  a5c4123009d66b7e8f1c4257ff3fa0a31b5d093fb0779c2a8a8481359a0abe96
voc-1/8-cutmix_seg 1323 207 CutMix-Seg
  2056e596d88bb883c2c509cb8c248ef3786add667b97144eb06120f2b4484a4f
voc-1/8-s4gan 1322 207 s4GAN
  10e57e4aa33cf70fc08d07271b2af4f4d335abb2f8f6baed4f0dd93f0691c969
# Of CCT (Ouali et al. 2020).
voc-60-cct 60 60 CCT
  5626444a95f2e87d1f33ba6bc78b3b2c3440a3d8d8605b71063a7b4f8fe031e4
voc-100-cct 100 100 CCT
  fd589e8a0c9db459face4bf0fc71e81de6fa81638689288aeb4920318b76cb6f
voc-200-cct 200 188 CCT
  3242589a88c7feff763b75ed1ba00c69ef11ff12b0fe0f8e373cfccabefdaf32
voc-300-cct 300 257 CCT
  fab57eeaa95c94eef50ab7d1d2ee4f6a6d9d00228c8e60ceafff39882f6c293d
voc-500-cct 500 314 CCT
  52ecd383ac4fa9d6c32606ef6ff6a9d952970c658b67e573a78b9db40e60be17
voc-800-cct 800 390 CCT
  49657a819f2bf305a9e4ef5b7c824067324341d20246c933d1122351d18cd756
voc-1000-cct 1000 432 CCT
  e51e49157e2eec6e2ce07fd65aa8010ec7233b0291304ace2efd3045f30ca24a
# Of fixed budgets of annotation in What's the Point (Bearman et al. 2016).
voc-441-whats_the_point 441 336 Whats-the-Point
  c9445c61f16d6b3f1b52ca6dba3e6d4fa63fd2dc3ade4020d5b963ac6da18c58
voc-883-whats_the_point 883 393 Whats-the-Point
  e28527b44af6fff7bbe315dd9cca7781c8f8379cae80a31d3d38577f4bec8339
voc-976-whats_the_point 976 405 Whats-the-Point
  2aa61adad2a0f8e99193cffed45bbb86b9d0feb1a08e55ecaeb50a3abc1a0e5e
  the list of 10 percent
voc-1159-whats_the_point 1159 422 Whats-the-Point
  da5cc1404b04598c6550c6f3b6387989c1a1de0f2c8176bd27d24f66b166797b
voc-2318-whats_the_point 2318 520 Whats-the-Point
  0231552e6ded8b3aaffa539483d7d6691f7d6c1f867d92b3fbcbab4275e807d0
voc-3032-whats_the_point 3032 573 Whats-the-Point
  7920301d377fe7135b1fab5657e3561f6b45bc77dd3df35453d11b4efc471c2e
voc-4788-whats_the_point 4788 698 Whats-the-Point
  7e2364aa202ec6583344681b2e2b438f8e715268d376430a4779d6f3e7e33dec
voc-5291-whats_the_point 5291 766 Whats-the-Point
  22eacaac35104b6e1f2e01435f95dd34e333369f611ca160eced6e639e261ee3
voc-6064-whats_the_point 6064 873 Whats-the-Point
  54f8becd4adc1c2b79a7b7498c5c75814523c4792087103a1b9a8ee45461e14c
voc-9576-whats_the_point 9576 1315 Whats-the-Point
  d70d2fbd94dd2a21bcfeb42c4544eb4f6cec14e245ada7878daecc352f8ce688
# Subsets.
voc-train_aug 10582 1464 UniMatch CCT Whats-the-Point AdvSemiSeg s4GAN IRN VOC
  d1326bd532648d73bc4b1bd275434eba81930982dc7401a65a8cecb26c028e24
voc-val 1449 0 U2PL ST++ UniMatch UniMatch-V2 CCT Whats-the-Point AdvSemiSeg s4GAN IRN SEAM VOC
  cdc1326d12f69ce5153aa5da04a4d8783e146868d42d19f82f44e74b97ac907d
voc-trainval 2913 1464 VOC
  f8dae64f9e08d8b06ef41286dcd4c516e7d98c8e6ec6d965bc6d29cb11a4de51
voc-test 1456 - CCT IRN SEAM
  5e8fe0c14b2e6633fb2e3a0f5db65fb6b8f5217b574478bb21127a48fd33010f
voc-val-fcn 736 0 FCN
  4ca991bd72c251fd2485eaa9e29536502ea3800d1b1c17c151fd6a04bcfbc2cc
  seg11valid: VOC 2011 val without SBD train
voc-train-sbd 8498 1133 Whats-the-Point
  de43eb458a91e941172dcb54b6e7996387dc07b9e2c96a5a14e827b9c45e9aeb
  SBD's train; holds images of VOC's val
voc-val-sbd 2857 1 Whats-the-Point
  bac43efcfaa6bac30541222c566490febe4a8a82428d73f66f0c33674fc1779a
  SBD's val; holds images of VOC's val
"""

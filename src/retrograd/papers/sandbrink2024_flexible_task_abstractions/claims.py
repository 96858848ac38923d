def c1(p):
    pass
def c2(p):
    pass
def c3(p):
    pass
def c4(p):
    pass
def c5(p):
    pass
def c6(p):
    pass
def c6b(p):
    pass
def c7(p):
    pass
def c8(p):
    pass
def c9(p):
    pass
def c10(p):
    pass
def c11(p):
    pass
def c12(p):
    pass
def c13(p):
    pass
def c14(p):
    pass
def c15(p):
    pass
def c16(p):
    pass
def c17(p):
    pass
def c18(p):
    pass
def c19(p):
    pass
def c20(p):
    pass
def c21(p):
    pass
def c22(p):
    pass
def c23(p):
    pass

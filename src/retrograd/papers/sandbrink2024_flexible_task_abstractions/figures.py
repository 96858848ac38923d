def fig1(p):
    pass
def fig2(p):
    pass
def fig3(p):
    pass
def fig4(p):
    pass
def fig5(p):
    pass
def fig6(p):
    pass
def fig7(p):
    pass

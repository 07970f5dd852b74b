from fastai.basics import *

learn = Learner(loaders, model, loss_func=loss)
learn.fit(3)
